//! `twzrd publish`

mod dry_run;

use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;
use twzrd_actors::publisher::{Publisher, PublisherArgs, PublisherMsg};
use twzrd_actors::step::no_probe;
use twzrd_domain::chain::SettlementStore;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::Channel;
use twzrd_domain::settlement::Target;

use super::print;
use super::settlement::{PAGE, place, row, shown, store_of};
use crate::cli::Publish;
use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;
use crate::settle::{NETWORK_WITHIN, Settling, new_layout, publishing};

/// How many epochs are named in a message.
const NAMED: usize = 10;
/// How long the publisher may take to answer before it is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);

/// Publishes one root, or shows what publishing would do.
pub(super) async fn run(settings: &Settings, args: Publish) -> Result<Code, Failure> {
    let settling = Settling::open(settings)?;
    let chain = settling.roots.clone().ok_or_else(|| {
        fail(
            Code::Config,
            "nothing can be published: expected chain.target program or memo, and a key in chain.keypair_file or TWZRD_PUBLISHER_KEYPAIR",
        )
    })?;
    chain.refuse_unacknowledged(NETWORK_WITHIN).await?;
    let store = Arc::new(store_of(&args.data, settings).await?);
    if args.dry_run {
        return dry_run::run(settings, &args, &*store, (&settling, &*chain)).await;
    }
    let (Some(epoch), Some(channel)) = (args.epoch, args.channel.as_deref()) else {
        return Err(fail(
            Code::Usage,
            "expected --dry-run, or --epoch and --channel",
        ));
    };
    let (epoch, channel) = place(epoch, channel)?;
    row(&*store, epoch, &channel).await?;
    let older = older_in_its_slot(settings, &*store, epoch, &channel).await?;
    if !older.is_empty() && !args.over_older {
        return Err(fail(
            Code::No,
            format_args!(
                "{}; expected these to be published first, the oldest first, or --over-older where they are given up",
                would_end(&channel, &older)
            ),
        ));
    }
    let mut publishing = publishing(settings);
    publishing.auto = true;
    publishing.only = Some((epoch, channel.clone()));
    let publisher = PublisherArgs {
        store: Arc::clone(&store) as _,
        chain: Some(chain),
        clock: Arc::new(SystemClock),
        publishing: Arc::new(publishing),
        counters: Arc::default(),
        probe: no_probe(),
    };
    let (publisher, ended) = Actor::spawn(None, Publisher, publisher)
        .await
        .or_fail(Code::Software)?;
    let asked = publisher.call(PublisherMsg::SettleAll, Some(ANSWER_WITHIN));
    let in_time = tokio::time::timeout(Duration::from_secs(args.seconds), asked).await;
    publisher.stop(None);
    ended.await.or_fail(Code::Software)?;
    let row = row(&*store, epoch, &channel).await?;
    print(&shown(&row, args.json))?;
    if row.publication.is_published() {
        return Ok(Code::Ok);
    }
    match in_time {
        Ok(_) => Ok(Code::No),
        Err(_) => Err(fail(
            Code::Unavailable,
            format_args!(
                "not settled within {} s; what is signed is brought to its end by the service, or by the same command again",
                args.seconds
            ),
        )),
    }
}

/// The epochs before this one of which a root of the channel is not published, and could not be
/// any more behind this one, because it takes the same slot of the ring.
async fn older_in_its_slot(
    settings: &Settings,
    store: &dyn SettlementStore,
    epoch: Epoch,
    channel: &Channel,
) -> Result<Vec<Epoch>, Failure> {
    if settings.chain.target != Target::Program {
        return Ok(Vec::new());
    }
    let slots = new_layout(settings)?.slots().max(1);
    let (mode, length) = (settings.chain.epoch_mode, settings.arithmetic.epoch_seconds);
    let slot = |epoch: Epoch| mode.number(epoch, length) % slots;
    let mut older = Vec::new();
    for state in ["planned", "held", "failed"] {
        let mut after = None;
        loop {
            let rows = store.rows(Some(state), after, PAGE).await?;
            let before = rows.iter().take_while(|row| row.epoch < epoch);
            let in_slot = before
                .filter(|row| row.channel == *channel && slot(row.epoch) == slot(epoch))
                .map(|row| row.epoch);
            older.extend(in_slot);
            after = rows.last().map(|row| (row.epoch, row.channel.clone()));
            let is_past = rows.last().is_none_or(|row| row.epoch >= epoch);
            if is_past || (rows.len() as u64) < PAGE {
                break;
            }
        }
    }
    older.sort_unstable();
    Ok(older)
}

/// What publishing a root before these would come to.
fn would_end(channel: &Channel, older: &[Epoch]) -> String {
    let named: Vec<String> = older.iter().take(NAMED).map(Epoch::to_string).collect();
    let more = match older.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} older roots of {channel} take the same slot and could never be published behind it: {}{more}",
        older.len(),
        named.join(", ")
    )
}
