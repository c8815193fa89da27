//! `twzrd publish`

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ractor::Actor;
use serde_json::json;
use twzrd_actors::publisher::{Publisher, PublisherArgs, PublisherMsg};
use twzrd_actors::step::no_probe;
use twzrd_domain::chain::{Draft, RootChain, SettlementStore, Standing};
use twzrd_domain::ports::Clock;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{Candidate, RootToPublish};

use super::print;
use super::settlement::{place, row, shown, store_of};
use crate::cli::Publish;
use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;
use crate::settle::{Settling, publishing};

/// How many roots a dry run looks at.
const LOOK: u64 = 1000;
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
    let store = Arc::new(store_of(&args.data, settings).await?);
    if args.dry_run {
        return dry_run(settings, &args, &*store, &*chain).await;
    }
    let (Some(epoch), Some(channel)) = (args.epoch, args.channel.as_deref()) else {
        return Err(fail(
            Code::Usage,
            "expected --dry-run, or --epoch and --channel",
        ));
    };
    let (epoch, channel) = place(epoch, channel)?;
    row(&*store, epoch, &channel).await?;
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

/// What would become of a root.
struct Would {
    root: RootToPublish,
    /// The word.
    what: &'static str,
    /// Why, and what comes next.
    why: Option<String>,
    units: Option<u64>,
    fee_lamports: Option<u64>,
    rent_lamports: Option<u64>,
}

async fn dry_run(
    settings: &Settings,
    args: &Publish,
    store: &dyn SettlementStore,
    chain: &dyn RootChain,
) -> Result<Code, Failure> {
    let publishing = publishing(settings);
    let candidates: Vec<Candidate> = match (args.epoch, args.channel.as_deref()) {
        (Some(epoch), Some(channel)) => {
            let (epoch, channel) = place(epoch, channel)?;
            row(store, epoch, &channel).await?;
            store
                .candidate(epoch, &channel)
                .await?
                .into_iter()
                .collect()
        }
        _ => store.due(SystemClock.now(), LOOK).await?,
    };
    let mut all = Vec::with_capacity(candidates.len());
    let mut open = Vec::new();
    for candidate in candidates {
        let (kind, mode, length) = (publishing.kind, publishing.mode, publishing.length);
        let root = candidate.to_publish(kind, mode, length);
        let is_open = matches!(
            candidate.publication,
            Publication::Planned | Publication::Held { .. }
        );
        if !is_open {
            let why = format!("it is {}", candidate.publication);
            all.push(Would::not(root, "nothing", Some(why)));
        } else if let Err(reason) = publishing.policy.judge(&candidate) {
            let why = format!("{reason}; next: {}", reason.why.next_step());
            all.push(Would::not(root, "hold", Some(why)));
        } else {
            open.push(root);
        }
    }
    let standings = chain.look(&open).await.or_fail(Code::Unavailable)?;
    let mut free = Vec::new();
    for (root, standing) in open.into_iter().zip(standings) {
        match standing {
            Standing::Free => free.push(root),
            Standing::Published => all.push(Would::not(
                root,
                "settle",
                Some("it is on chain".to_owned()),
            )),
            Standing::Newer(by) => {
                let why = format!("epoch {by} stands in its slot");
                all.push(Would::not(root, "supersede", Some(why)));
            }
            Standing::Blocked(reason) => {
                let what = if reason.why.is_final() {
                    "fail"
                } else {
                    "hold"
                };
                let why = format!("{reason}; next: {}", reason.why.next_step());
                all.push(Would::not(root, what, Some(why)));
            }
        }
    }
    let (published, transactions) = draft_all(chain, free, &mut all).await?;
    all.extend(published);
    all.sort_by(|a, b| (a.root.epoch, &a.root.channel).cmp(&(b.root.epoch, &b.root.channel)));
    print(
        &all.iter()
            .map(|would| would.line(args.json))
            .collect::<String>(),
    )?;
    if !args.json {
        print(&sum(&all, transactions))?;
    }
    Ok(Code::Ok)
}

/// Builds and simulates all transactions that it would take; none of them is kept or sent.
async fn draft_all(
    chain: &dyn RootChain,
    mut free: Vec<RootToPublish>,
    refused: &mut Vec<Would>,
) -> Result<(Vec<Would>, usize), Failure> {
    let (mut all, mut transactions) = (Vec::new(), 0);
    while !free.is_empty() {
        let Draft {
            signed,
            estimates,
            refused: bad,
        } = chain.draft(&free).await.or_fail(Code::Unavailable)?;
        let before = free.len();
        for (id, reason) in bad {
            let Some(at) = free.iter().position(|root| root.id == id) else {
                continue;
            };
            let what = if reason.why.is_final() {
                "fail"
            } else {
                "hold"
            };
            let why = format!("{reason}; next: {}", reason.why.next_step());
            refused.push(Would::not(free.remove(at), what, Some(why)));
        }
        for id in signed.iter().flat_map(|signed| &signed.roots) {
            let Some(at) = free.iter().position(|root| root.id == *id) else {
                continue;
            };
            let estimate = estimates.iter().find(|estimate| estimate.root == *id);
            all.push(Would {
                root: free.remove(at),
                what: "publish",
                why: None,
                units: estimate.map(|it| it.units),
                fee_lamports: estimate.map(|it| it.fee_lamports),
                rent_lamports: estimate.map(|it| it.rent_lamports),
            });
        }
        transactions += usize::from(signed.is_some());
        if free.len() == before {
            let left = free.drain(..);
            all.extend(left.map(|root| {
                Would::not(
                    root,
                    "wait",
                    Some("a newer state is not finalized yet".to_owned()),
                )
            }));
        }
    }
    Ok((all, transactions))
}

impl Would {
    const fn not(root: RootToPublish, what: &'static str, why: Option<String>) -> Self {
        Self {
            root,
            what,
            why,
            units: None,
            fee_lamports: None,
            rent_lamports: None,
        }
    }

    fn line(&self, as_json: bool) -> String {
        let (epoch, channel) = (self.root.epoch, &self.root.channel);
        if as_json {
            let line = json!({
                "epoch": epoch.0, "channel": channel.as_str(), "number": self.root.number,
                "would": self.what, "why": self.why, "compute_units": self.units,
                "fee_lamports": self.fee_lamports, "rent_lamports": self.rent_lamports,
            });
            return format!("{line}\n");
        }
        let mut text = format!(
            "{epoch}  {channel}  number {}  would {}",
            self.root.number, self.what
        );
        if let (Some(units), Some(fee), Some(rent)) =
            (self.units, self.fee_lamports, self.rent_lamports)
        {
            let _ = write!(
                text,
                "  {units} compute units  fee {fee}  rent {rent} lamports"
            );
        }
        if let Some(why) = &self.why {
            let _ = write!(text, "  {why}");
        }
        text.push('\n');
        text
    }
}

fn sum(all: &[Would], transactions: usize) -> String {
    let published = all.iter().filter(|would| would.units.is_some());
    let roots = published.clone().count();
    let fee: u64 = published
        .clone()
        .filter_map(|would| would.fee_lamports)
        .sum();
    let rent: u64 = published.filter_map(|would| would.rent_lamports).sum();
    format!(
        "{} roots; {roots} would be published in {transactions} transactions, for {fee} lamports and {rent} of rent; nothing was sent\n",
        all.len()
    )
}
