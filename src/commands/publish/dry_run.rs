//! What publishing would do and cost.

use std::fmt::Write;

use serde_json::json;
use twzrd_actors::publisher::Publishing;
use twzrd_chain::rpc::chain_error;
use twzrd_domain::chain::{Draft, RootChain, SettlementStore, Standing};
use twzrd_domain::ports::Clock;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{Candidate, Reason, RootToPublish, Why};

use super::{older_in_its_slot, would_end};
use crate::cli::Publish;
use crate::clock::SystemClock;
use crate::commands::print;
use crate::commands::settlement::{place, row};
use crate::exit::{Code, Failure, OrFail};
use crate::settings::Settings;
use crate::settle::{Settling, publishing};

/// How many roots are looked at.
const LOOK: u64 = 1000;

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

/// Prints what each root would do and cost; signs for a simulation, and sends nothing.
pub(super) async fn run(
    settings: &Settings,
    args: &Publish,
    store: &dyn SettlementStore,
    (settling, chain): (&Settling, &dyn RootChain),
) -> Result<Code, Failure> {
    let publishing = publishing(settings);
    let (mut ends, mut more) = (None, 0);
    let candidates: Vec<Candidate> = match (args.epoch, args.channel.as_deref()) {
        (Some(epoch), Some(channel)) => {
            let (epoch, channel) = place(epoch, channel)?;
            row(store, epoch, &channel).await?;
            let older = older_in_its_slot(settings, store, epoch, &channel).await?;
            ends = (!older.is_empty()).then(|| would_end(&channel, &older));
            store
                .candidate(epoch, &channel)
                .await?
                .into_iter()
                .collect()
        }
        _ => {
            let due = store.due(SystemClock.now(), LOOK).await?;
            more = planned(store).await?.saturating_sub(of_planned(&due));
            due
        }
    };
    let (open, mut all) = judged(&publishing, candidates);
    let standings = chain.look(&open).await.or_fail(Code::Unavailable)?;
    let mut free = Vec::new();
    for (root, standing) in open.into_iter().zip(standings) {
        match stands(standing) {
            Some((what, why)) => all.push(Would::not(root, what, Some(why))),
            None => free.push(root),
        }
    }
    let mut purse = Purse::read(settling).await?;
    let (published, transactions) = draft_all(chain, free, &mut purse, &mut all).await?;
    all.extend(published);
    for would in &mut all {
        if would.what == "publish" {
            would.why.clone_from(&ends);
        }
    }
    all.sort_by(|a, b| (a.root.epoch, &a.root.channel).cmp(&(b.root.epoch, &b.root.channel)));
    print(
        &all.iter()
            .map(|would| would.line(args.json))
            .collect::<String>(),
    )?;
    if !args.json {
        print(&sum(&all, transactions))?;
    }
    if more > 0 {
        tracing::warn!(
            roots = more,
            "more roots are planned than were looked at; they come behind these"
        );
    }
    Ok(Code::Ok)
}

/// The roots that pass the policy, and what would become of the others.
fn judged(publishing: &Publishing, candidates: Vec<Candidate>) -> (Vec<RootToPublish>, Vec<Would>) {
    let (mut open, mut all) = (Vec::new(), Vec::new());
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
    (open, all)
}

/// What would become of a root that stands there, and why; none where it would be published.
fn stands(standing: Standing) -> Option<(&'static str, String)> {
    Some(match standing {
        Standing::Free => return None,
        Standing::Published => ("settle", "it is on chain".to_owned()),
        Standing::Newer(by) => ("supersede", format!("epoch {by} stands in its slot")),
        Standing::Blocked(reason) => {
            let what = if reason.why.is_final() {
                "fail"
            } else {
                "hold"
            };
            (what, format!("{reason}; next: {}", reason.why.next_step()))
        }
    })
}

/// How many roots are planned.
async fn planned(store: &dyn SettlementStore) -> Result<u64, Failure> {
    let tallies = store.tallies().await?;
    let planned = tallies.iter().filter(|tally| tally.state == "planned");
    Ok(planned.map(|tally| tally.roots).sum())
}

fn of_planned(candidates: &[Candidate]) -> u64 {
    let planned = candidates
        .iter()
        .filter(|it| it.publication == Publication::Planned);
    planned.count() as u64
}

/// What the key's account can still pay.
struct Purse {
    left: u64,
}

impl Purse {
    /// What the account holds, but for what every account must keep.
    async fn read(settling: &Settling) -> Result<Self, Failure> {
        let (Some(pool), Some(signer)) = (&settling.pool, &settling.signer) else {
            return Ok(Self { left: 0 });
        };
        let client = pool.client();
        let asked = async {
            let has = client.get_balance(&signer.pubkey()).await?;
            let keeps = client.get_minimum_balance_for_rent_exemption(0).await?;
            Ok(has.saturating_sub(keeps))
        };
        let left = asked
            .await
            .map_err(|error| chain_error("reading a balance", &error));
        Ok(Self {
            left: left.or_fail(Code::Unavailable)?,
        })
    }

    /// Pays for a root, or says why it cannot.
    fn pay(&mut self, cost: u64) -> Result<(), Reason> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let text = format!(
                    "the roots before it leave {} lamports; expected at least {cost}",
                    self.left
                );
                Err(Reason::new(Why::NoFunds, text))
            }
        }
    }
}

/// Builds and simulates all transactions that it would take; none of them is kept or sent.
async fn draft_all(
    chain: &dyn RootChain,
    mut free: Vec<RootToPublish>,
    purse: &mut Purse,
    refused: &mut Vec<Would>,
) -> Result<(Vec<Would>, usize), Failure> {
    let (mut all, mut transactions) = (Vec::new(), 0);
    while !free.is_empty() {
        let Draft {
            signed,
            estimates,
            refused: bad,
        } = chain.draft(&free).await.or_fail(Code::Unavailable)?;
        let (before, mut any) = (free.len(), false);
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
            let cost = estimate.map_or(0, |it| it.fee_lamports.saturating_add(it.rent_lamports));
            if let Err(reason) = purse.pay(cost) {
                let why = format!("{reason}; next: {}", reason.why.next_step());
                refused.push(Would::not(free.remove(at), "hold", Some(why)));
                continue;
            }
            any = true;
            all.push(Would {
                root: free.remove(at),
                what: "publish",
                why: None,
                units: estimate.map(|it| it.units),
                fee_lamports: estimate.map(|it| it.fee_lamports),
                rent_lamports: estimate.map(|it| it.rent_lamports),
            });
        }
        transactions += usize::from(any);
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
