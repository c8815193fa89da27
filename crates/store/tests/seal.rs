//! Sealing: what is open, what is frozen, what has its trees, and what is reported of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{
    HOUR, NEXT_HOUR, SEALED_AT, World, an_hour, batch, hash, lines, name, presence, sorted,
};
use sea_orm::EntityTrait;
use std::collections::BTreeMap;
use twzrd_domain::batch::{Batch, Group, Groups};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::Channel;
use twzrd_domain::invariant;
use twzrd_domain::ports::{
    BuiltTrees, ReportStore, SealStore, SealedEpoch, StoreError, TreeStore, Unbuilt,
};
use twzrd_domain::proof;
use twzrd_domain::seal::{FrozenChannel, Participant};
use twzrd_domain::weight::Weight;
use twzrd_store::entity::{epochs, l2_tree_cache, roots, sealed_epochs};

on_both!(
    an_epoch_is_open_while_something_counted_and_no_seal_is_committed,
    participants_come_in_sealed_order_with_all_that_freezing_reads,
    channels_are_asked_for_in_any_order_and_unknown_ones_are_empty,
    what_is_frozen_twice_stays_as_it_was,
    amounts_beyond_a_signed_number_are_kept,
    freezing_is_refused_before_the_seal_and_while_a_channel_is_missing,
    an_epoch_without_channels_is_final_once_it_is_frozen,
    an_epoch_is_final_once_every_channel_has_its_trees,
    trees_may_be_written_before_the_epoch_is_frozen_whole,
    trees_are_written_once_and_as_the_deployed_system_keeps_them,
    trees_over_other_leaves_than_were_frozen_are_refused,
    a_large_tree_keeps_its_root_only,
    a_proof_is_made_of_what_is_stored,
    a_missing_participant_is_found,
    sealed_epochs_are_reported_page_by_page,
    roots_with_0x_are_read,
);

async fn an_epoch_is_open_while_something_counted_and_no_seal_is_committed(world: World) {
    let ledger = vec![
        lines(Epoch::NONE, "", Outcome::Invalid, 9),
        lines(HOUR, "forsen", Outcome::Counted, 1),
        lines(HOUR, "xqc", Outcome::Late, 1),
        lines(NEXT_HOUR, "forsen", Outcome::Counted, 1),
        lines(Epoch(14_400), "forsen", Outcome::Suppressed, 1),
    ];
    world.commit(Batch { ledger, ..batch() }).await;
    assert_eq!(world.store.open_epochs().await.unwrap(), [HOUR, NEXT_HOUR]);
    world.seal(HOUR).await;
    assert_eq!(world.store.open_epochs().await.unwrap(), [NEXT_HOUR]);
    assert_eq!(world.store.unfrozen().await.unwrap(), [(HOUR, SEALED_AT)]);
    world.store.finish_freeze(HOUR, SEALED_AT).await.unwrap();
    assert_eq!(world.store.unfrozen().await.unwrap(), []);
}

async fn participants_come_in_sealed_order_with_all_that_freezing_reads(world: World) {
    let group = Group {
        token_group: "CLS".into(),
        category: "music".into(),
    };
    let groups = Groups::new(BTreeMap::from([(name("forsen"), group.clone())]));
    let store = world.reopen(groups).await;
    let mut first = an_hour();
    // The same second: by hash.
    first
        .participants
        .push(presence(HOUR, "forsen", "dee", 7250));
    let mut first = sorted(first);
    first.to = common::at(1);
    twzrd_domain::ports::BatchStore::commit(&store, &first)
        .await
        .unwrap();
    // The group of the row that was there first stays.
    let participants = vec![presence(HOUR, "forsen", "ada", 7299)];
    world
        .commit(Batch {
            participants,
            ..batch()
        })
        .await;

    let channels = world.store.channels_to_freeze(HOUR).await.unwrap();
    assert_eq!(channels, [(name("forsen"), 3), (name("xqc"), 2)]);
    let channels: Vec<Channel> = channels.into_iter().map(|(channel, _)| channel).collect();
    let people = world.store.participants(HOUR, &channels).await.unwrap();
    let (bob, dee) = (hash("bob"), hash("dee"));
    let order: Vec<_> = people[0].iter().map(|p| p.user).collect();
    assert_eq!(order, [bob.min(dee), bob.max(dee), hash("ada")]);
    let ada: &Participant = &people[0][2];
    let sums = ada.sums.unwrap();
    assert_eq!(
        (sums.presence, sums.message, sums.sub, sums.bits),
        (2, 3, 1, 0)
    );
    let rest = (ada.first_seen, ada.login.as_ref(), &ada.group);
    assert_eq!(rest, (7299, Some(&name("ada")), &group));
    let cy = people[1].iter().find(|p| p.user == hash("cy")).unwrap();
    assert_eq!(
        (&cy.login, &cy.sums, &cy.group),
        (&None, &None, &Group::default())
    );
}

async fn channels_are_asked_for_in_any_order_and_unknown_ones_are_empty(world: World) {
    world.commit(an_hour()).await;
    let asked = [name("xqc"), name("nobody"), name("forsen")];
    let people = world.store.participants(HOUR, &asked).await.unwrap();
    let people: Vec<usize> = people.iter().map(Vec::len).collect();
    assert_eq!(people, [2, 0, 2]);
    assert_eq!(
        world.store.participants(HOUR, &[]).await.unwrap(),
        [] as [Vec<_>; 0]
    );
    let other = world
        .store
        .participants(NEXT_HOUR, &asked[..1])
        .await
        .unwrap();
    assert_eq!(other, [vec![]]);
}

async fn what_is_frozen_twice_stays_as_it_was(world: World) {
    world.commit(an_hour()).await;
    world.seal(HOUR).await;
    let frozen = world.frozen(HOUR).await;
    world.store.freeze(&frozen[..1]).await.unwrap();
    assert_eq!(
        world.store.channels_to_freeze(HOUR).await.unwrap(),
        [(name("xqc"), 2)]
    );
    let mut changed = frozen.clone();
    changed[0].participants.truncate(1);
    changed[0].participants[0].amount = 1;
    changed[0].sealed_at = 1;
    // Twice in one call as well.
    changed.push(changed[1].clone());
    world.store.freeze(&changed).await.unwrap();
    world.store.freeze(&changed).await.unwrap();
    world.store.finish_freeze(HOUR, SEALED_AT).await.unwrap();
    world.store.finish_freeze(HOUR, 5).await.unwrap();
    world.build().await;
    for expected in frozen {
        let found = world
            .store
            .proof_material(HOUR, &expected.channel)
            .await
            .unwrap();
        assert_eq!(found.unwrap().participants, expected.participants);
    }
    let row = epochs::Entity::find_by_id(7200)
        .one(world.store.reader())
        .await
        .unwrap();
    assert_eq!(row.unwrap().frozen_at, Some(SEALED_AT as i64));
    assert_eq!(world.store.channels_to_freeze(HOUR).await.unwrap(), []);
}

async fn amounts_beyond_a_signed_number_are_kept(world: World) {
    world.commit(an_hour()).await;
    world.seal(HOUR).await;
    let mut frozen = world.frozen(HOUR).await;
    frozen[0].participants[0].amount = u64::MAX;
    frozen[0].participants[1].amount = i64::MAX as u64 + 1;
    frozen[0].participants[1].weight = Weight(i64::MAX as u64);
    world.store.freeze(&frozen).await.unwrap();
    world.build().await;
    let found = world
        .store
        .proof_material(HOUR, &name("forsen"))
        .await
        .unwrap();
    assert_eq!(found.unwrap().participants, frozen[0].participants);
}

async fn freezing_is_refused_before_the_seal_and_while_a_channel_is_missing(world: World) {
    world.commit(an_hour()).await;
    let frozen = world.frozen(HOUR).await;
    for error in [
        world.store.freeze(&frozen).await.unwrap_err(),
        world.store.finish_freeze(HOUR, 1).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Permanent { .. }), "{error}");
        assert!(
            error.to_string().contains("epoch 7200 is not sealed"),
            "{error}"
        );
    }
    world.seal(HOUR).await;
    world.store.freeze(&frozen[..1]).await.unwrap();
    let error = world.store.finish_freeze(HOUR, 1).await.unwrap_err();
    assert!(
        error.to_string().contains("xqc is not frozen in 7200"),
        "{error}"
    );
    assert_eq!(world.store.unfrozen().await.unwrap(), [(HOUR, SEALED_AT)]);
}

async fn finalized(world: &World) -> Option<i64> {
    let row = epochs::Entity::find_by_id(7200)
        .one(world.store.reader())
        .await
        .unwrap();
    row.unwrap().finalized_at
}

async fn an_epoch_without_channels_is_final_once_it_is_frozen(world: World) {
    world.seal(HOUR).await;
    assert_eq!(finalized(&world).await, None);
    world.store.finish_freeze(HOUR, SEALED_AT).await.unwrap();
    assert_eq!(finalized(&world).await, Some(10_860));
}

async fn an_epoch_is_final_once_every_channel_has_its_trees(world: World) {
    world.commit(an_hour()).await;
    world.seal_and_freeze(HOUR).await;
    let unbuilt = world.store.unbuilt(1).await.unwrap();
    let expected = Unbuilt {
        epoch: HOUR,
        channel: name("forsen"),
        participants: 2,
    };
    assert_eq!(unbuilt, [expected]);
    let leaves = world.store.sealed_leaves(&unbuilt).await.unwrap();
    let trees: Vec<BuiltTrees> = leaves.into_iter().map(common::trees_of).collect();
    world.store.write_trees(&trees).await.unwrap();
    assert_eq!(finalized(&world).await, None);
    assert_eq!(
        world.store.unbuilt(9).await.unwrap()[0].channel,
        name("xqc")
    );
    world.build().await;
    assert_eq!(finalized(&world).await, Some(10_860));
    assert_eq!(world.store.unbuilt(9).await.unwrap(), []);
}

async fn trees_may_be_written_before_the_epoch_is_frozen_whole(world: World) {
    world.commit(an_hour()).await;
    world.seal(HOUR).await;
    let frozen = world.frozen(HOUR).await;
    world.store.freeze(&frozen[..1]).await.unwrap();
    world.build().await;
    assert_eq!(finalized(&world).await, None);
    world.store.freeze(&frozen).await.unwrap();
    world.build().await;
    assert_eq!(finalized(&world).await, None);
    world.store.finish_freeze(HOUR, SEALED_AT).await.unwrap();
    assert_eq!(finalized(&world).await, Some(10_860));
}

async fn trees_are_written_once_and_as_the_deployed_system_keeps_them(world: World) {
    world.commit(an_hour()).await;
    let frozen = world.seal_and_freeze(HOUR).await;
    let trees = world.build().await;
    let mut changed = trees.clone();
    for tree in &mut changed {
        (tree.participation_root, tree.built_at) = ([7; 32], 7000);
    }
    world.store.write_trees(&changed).await.unwrap();

    let db = world.store.reader();
    let sealed = sealed_epochs::Entity::find().all(db).await.unwrap();
    let cached = l2_tree_cache::Entity::find().all(db).await.unwrap();
    let settle = roots::Entity::find().all(db).await.unwrap();
    assert_eq!((sealed.len(), cached.len(), settle.len()), (2, 2, 2));
    for (at, tree) in trees.iter().enumerate() {
        let hex = |node: [u8; 32]| twzrd_domain::identity::Node(node).to_string();
        let claim_root = hex(tree.claim_levels.last().unwrap()[0]);
        let expected = sealed_epochs::Model {
            epoch: 7200,
            channel: tree.channel.to_string(),
            root: Some(hex(tree.participation_root)),
            sealed_at: 10_860,
            published: 0,
            token_group: "MILO".to_owned(),
            category: "default".to_owned(),
            published_at: None,
            participants: frozen[at].participants.len() as i64,
            sealed_at_ms: SEALED_AT as i64,
        };
        assert_eq!(sealed[at], expected);
        let levels: Vec<Vec<_>> = tree
            .claim_levels
            .iter()
            .map(|level| level.iter().map(|&node| hex(node)).collect())
            .collect();
        let expected = l2_tree_cache::Model {
            epoch: 7200,
            channel: tree.channel.to_string(),
            root: claim_root.clone(),
            levels_json: serde_json::to_string(&levels).unwrap(),
            participant_count: 2,
            built_at: 10_860,
        };
        assert_eq!(cached[at], expected);
        let expected = roots::Model {
            id: at as i64 + 1,
            epoch: 7200,
            channel: tree.channel.to_string(),
            root: claim_root,
            count: 2,
            finalized_at: 10_860,
            status: "ready_for_settlement".to_owned(),
            target: None,
            chain_epoch: None,
            reason_code: None,
            reason: None,
            released: 0,
            look_again_ms: None,
            tx_signature: None,
            settled_at_ms: None,
            settled_slot: None,
            superseded_by: None,
        };
        assert_eq!(settle[at], expected);
    }
}

async fn trees_over_other_leaves_than_were_frozen_are_refused(world: World) {
    world.commit(an_hour()).await;
    world.seal_and_freeze(HOUR).await;
    let unbuilt = world.store.unbuilt(9).await.unwrap();
    let leaves = world.store.sealed_leaves(&unbuilt).await.unwrap();
    let right: Vec<BuiltTrees> = leaves.into_iter().map(common::trees_of).collect();
    let wrong: [fn(&mut BuiltTrees); 4] = [
        |tree| tree.participants = 3,
        |tree| tree.claim_levels[0].truncate(1),
        |tree| tree.claim_levels.truncate(1),
        |tree| tree.channel = name("nobody"),
    ];
    for change in wrong {
        let mut trees = right.clone();
        change(&mut trees[1]);
        let error = world.store.write_trees(&trees).await.unwrap_err();
        assert!(matches!(error, StoreError::Permanent { .. }), "{error}");
    }
    assert_eq!(world.store.unbuilt(9).await.unwrap(), unbuilt);
    let stranger = Unbuilt {
        channel: name("nobody"),
        ..unbuilt[0].clone()
    };
    let error = world.store.sealed_leaves(&[stranger]).await.unwrap_err();
    assert!(
        error.to_string().contains("nobody is not frozen in 7200"),
        "{error}"
    );
}

async fn a_large_tree_keeps_its_root_only(world: World) {
    world.seal(HOUR).await;
    let people = 131_073u64;
    let participants = (0..people).map(|n| twzrd_domain::seal::FrozenParticipant {
        user: twzrd_domain::identity::UserHash::of_twitch_id(n),
        login: None,
        weight: Weight(n),
        amount: n,
        claimer: twzrd_domain::identity::Wallet::UNBOUND,
        claim_leaf: twzrd_domain::identity::keccak256(&[&n.to_le_bytes()]),
    });
    let frozen = FrozenChannel {
        epoch: HOUR,
        channel: name("forsen"),
        group: Group::default(),
        sealed_at: SEALED_AT,
        participants: participants.collect(),
    };
    world
        .store
        .freeze(std::slice::from_ref(&frozen))
        .await
        .unwrap();
    let trees = world.build().await;
    assert_eq!(trees[0].participants, people);
    let cached = l2_tree_cache::Entity::find()
        .one(world.store.reader())
        .await
        .unwrap()
        .unwrap();
    let root = trees[0].claim_levels.last().unwrap()[0];
    let root = twzrd_domain::identity::Node(root).to_string();
    assert_eq!((cached.levels_json.as_str(), cached.root), ("[]", root));
    let material = world
        .store
        .proof_material(HOUR, &name("forsen"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(material.participants, frozen.participants);
    invariant::roots_follow_participants(&material).unwrap();
}

async fn a_proof_is_made_of_what_is_stored(world: World) {
    world.commit(an_hour()).await;
    let forsen = name("forsen");
    assert_eq!(
        world.store.proof_material(HOUR, &forsen).await.unwrap(),
        None
    );
    world.seal_and_freeze(HOUR).await;
    assert_eq!(
        world.store.proof_material(HOUR, &forsen).await.unwrap(),
        None
    );
    world.build().await;
    assert_eq!(
        world
            .store
            .proof_material(NEXT_HOUR, &forsen)
            .await
            .unwrap(),
        None
    );
    let material = world
        .store
        .proof_material(HOUR, &forsen)
        .await
        .unwrap()
        .unwrap();
    invariant::roots_follow_participants(&material).unwrap();
    let proof = proof::prove(&material, &name("ada")).unwrap();
    proof.verify().unwrap();
    assert_eq!((proof.index, proof.participants), (1, 2));
}

async fn a_missing_participant_is_found(world: World) {
    world.commit(an_hour()).await;
    world.seal_and_freeze(HOUR).await;
    world.build().await;
    for sql in [
        "DELETE FROM sealed_participants WHERE channel = 'forsen' AND idx = 1",
        "UPDATE sealed_participants SET amount = '-1' WHERE channel = 'xqc' AND idx = 1",
    ] {
        world.run(sql).await;
    }
    for (channel, place) in [
        ("forsen", "sealed_participants"),
        ("xqc", "sealed_participants.amount"),
    ] {
        let error = world
            .store
            .proof_material(HOUR, &name(channel))
            .await
            .unwrap_err();
        let StoreError::Corrupt { place: found, .. } = error else {
            panic!("{error}");
        };
        assert_eq!(found, place);
    }
}

async fn sealed_epochs_are_reported_page_by_page(world: World) {
    let mut all = an_hour();
    all.participants
        .push(presence(NEXT_HOUR, "forsen", "ada", 10_900));
    world.commit(sorted(all)).await;
    world.seal_and_freeze(HOUR).await;
    let trees = world.build().await;
    world.seal_and_freeze(NEXT_HOUR).await;
    let row = |tree: Option<&BuiltTrees>, epoch, channel: &str, participants| SealedEpoch {
        epoch,
        channel: name(channel),
        participants,
        participation_root: tree.map(|tree| tree.participation_root),
        claim_root: tree.map(|tree| tree.claim_levels.last().unwrap()[0]),
        gap_ms: 0,
        settled_at: None,
        tx_signature: None,
    };
    let expected = [
        row(Some(&trees[0]), HOUR, "forsen", 2),
        row(Some(&trees[1]), HOUR, "xqc", 2),
        row(None, NEXT_HOUR, "forsen", 1),
    ];
    assert_eq!(world.store.sealed_after(None, 10).await.unwrap(), expected);
    let mut after = None;
    for one in expected {
        let page = world.store.sealed_after(after, 1).await.unwrap();
        after = Some((one.epoch, one.channel.clone()));
        assert_eq!(page, [one]);
    }
    assert_eq!(world.store.sealed_after(after, 1).await.unwrap(), []);
}

async fn roots_with_0x_are_read(world: World) {
    world.commit(an_hour()).await;
    world.seal_and_freeze(HOUR).await;
    world.build().await;
    let before = world.store.sealed_after(None, 9).await.unwrap();
    world.run("UPDATE roots SET root = '0x' || root").await;
    world
        .run("UPDATE sealed_epochs SET root = '0x' || root")
        .await;
    assert_eq!(world.store.sealed_after(None, 9).await.unwrap(), before);
}
