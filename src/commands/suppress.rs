//! `twzrd suppress`

use std::fmt::Write;
use std::time::Duration;

use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::step::no_probe;
use twzrd_actors::suppression_filter::{ListChange, SuppressionFilterMsg};
use twzrd_domain::identity::{Login, UserHash};
use twzrd_domain::ports::{Clock, SuppressedPerson, SuppressionStore};

use super::{data_folder, print};
use crate::cli::{Suppress, SuppressList, SuppressOne};
use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;
use crate::wiring::{DataFolder, How, Opened, Running};

/// How long the filter is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Changes or shows the list.
pub(super) async fn run(settings: &Settings, args: Suppress) -> Result<Code, Failure> {
    match args {
        Suppress::Add(one) => change(settings, one, true).await,
        Suppress::Remove(one) => change(settings, one, false).await,
        Suppress::List(list) => show(settings, list).await,
    }
}

async fn change(settings: &Settings, args: SuppressOne, suppress: bool) -> Result<Code, Failure> {
    let login = login(&args.login)?;
    let mut hashes = vec![UserHash::of_login(&login)];
    hashes.extend(args.id.map(UserHash::of_twitch_id));
    let data = DataFolder::create(&data_folder(args.data.data, settings))?;
    let how = How {
        seal_when: SealWhen::Asked,
        catch_up_on_stop: false,
        batch_linger: Duration::ZERO,
        ingest: None,
        chain: None,
        operations: Vec::new(),
        probe: no_probe(),
    };
    let opened = Opened::open(&data, settings, true).await?;
    let running = Running::start(opened, settings, how).await?;
    let change = ListChange {
        suppress,
        hashes,
        reason: args.reason,
        at: SystemClock.now(),
    };
    let filter = &running.refs.filter;
    let asked = filter.call(
        |reply| SuppressionFilterMsg::Change(change, reply),
        ANSWER_WITHIN,
    );
    let done = async {
        let seq = running
            .while_running(asked)
            .await?
            .or_fail(Code::Unavailable)?
            .or_fail(Code::Unavailable)?;
        running.finish(false).await?;
        Ok::<_, Failure>(seq)
    };
    let done = done.await;
    running.stop().await;
    // The last connection takes the database's log with it, and what was removed is in it no more.
    running.store.close().await?;
    let seq = done?;
    let what = if suppress {
        "out: gone from every epoch that is not sealed"
    } else {
        "in again"
    };
    print(&format!(
        "{login} is {what} (record {seq} of the journal)\n"
    ))?;
    Ok(Code::Ok)
}

async fn show(settings: &Settings, args: SuppressList) -> Result<Code, Failure> {
    let wanted = args
        .login
        .as_deref()
        .map(login)
        .transpose()?
        .map(|login| UserHash::of_login(&login));
    let folder = data_folder(args.data.data, settings);
    let store = DataFolder::existing(&folder)?
        .open_existing_store(settings)
        .await?;
    let people: Vec<SuppressedPerson> = store
        .suppressed()
        .await?
        .into_iter()
        .filter(|person| wanted.is_none_or(|hash| hash == person.user))
        .collect();
    let text = people.iter().fold(String::new(), |mut text, person| {
        let reason = person.reason.as_deref().unwrap_or("");
        let _ = if args.json {
            let line = serde_json::json!({
                "user_hash": person.user, "requested_at": person.requested_at, "reason": reason,
            });
            writeln!(text, "{line}")
        } else {
            writeln!(text, "{}  {}  {reason}", person.user, person.requested_at)
        };
        text
    });
    print(&text)?;
    Ok(if wanted.is_some() && people.is_empty() {
        Code::No
    } else {
        Code::Ok
    })
}

fn login(text: &str) -> Result<Login, Failure> {
    Login::parse(text).map_err(|error| fail(Code::Usage, format_args!("LOGIN {text:?}: {error}")))
}
