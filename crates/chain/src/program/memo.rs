//! A root as one line of the SPL Memo program: `twzrd:v1:<epoch>:<channel>:<count>:<root>`.
//!
//! The epoch is in seconds, whatever number it has elsewhere on chain. A channel's name may hold a
//! colon, so that a line is read from both ends.

use solana_sdk::instruction::{AccountMeta, Instruction};
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Channel, Node};
use twzrd_domain::settlement::RootToPublish;

/// The SPL Memo program.
pub const MEMO_PROGRAM: Pubkey =
    Pubkey::from_str_const("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");

const PREFIX: &str = "twzrd:v1:";

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// The epoch, in seconds.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// How many leaves the tree has.
    pub count: u64,
    /// The root.
    pub root: [u8; 32],
}

/// The line of a root.
#[must_use]
pub fn line(root: &RootToPublish) -> String {
    render(&root.epoch, &root.channel, root.count, root.root)
}

/// The instruction that writes the line of a root, signed by the publisher.
#[must_use]
pub fn instruction(publisher: &Pubkey, root: &RootToPublish) -> Instruction {
    Instruction {
        program_id: MEMO_PROGRAM,
        accounts: vec![AccountMeta::new_readonly(*publisher, true)],
        data: line(root).into_bytes(),
    }
}

/// Reads a line; none where it is not exactly one that [`line()`] writes.
#[must_use]
pub fn parse(text: &str) -> Option<Memo> {
    let (epoch, rest) = text.strip_prefix(PREFIX)?.split_once(':')?;
    let (rest, root) = rest.rsplit_once(':')?;
    let (channel, count) = rest.rsplit_once(':')?;
    let memo = Memo {
        epoch: Epoch(epoch.parse().ok()?),
        channel: channel.parse().ok()?,
        count: count.parse().ok()?,
        root: root.parse::<Node>().ok()?.0,
    };
    let again = render(&memo.epoch, &memo.channel, memo.count, memo.root);
    (again == text).then_some(memo)
}

fn render(epoch: &Epoch, channel: &Channel, count: u64, root: [u8; 32]) -> String {
    format!("{PREFIX}{}:{channel}:{count}:{}", epoch.0, Node(root))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use twzrd_domain::settlement::RootId;

    fn root(channel: &str) -> RootToPublish {
        RootToPublish {
            id: RootId(1),
            epoch: Epoch(1_761_854_400),
            number: 489_404,
            channel: channel.parse().unwrap(),
            root: [0xab; 32],
            count: 12,
        }
    }

    #[test]
    fn a_line_reads_back_also_where_the_name_holds_colons() {
        assert_eq!(
            line(&root("lacy")),
            format!("twzrd:v1:1761854400:lacy:12:{}", "ab".repeat(32))
        );
        for channel in ["lacy", "category:crypto", "1:2:3", ":"] {
            let memo = parse(&line(&root(channel))).unwrap();
            assert_eq!(memo.channel.as_str(), channel);
            assert_eq!(
                (memo.epoch, memo.count, memo.root),
                (Epoch(1_761_854_400), 12, [0xab; 32])
            );
        }
    }

    #[test]
    fn what_is_not_exactly_a_line_is_none() {
        let hex = "ab".repeat(32);
        for text in [
            String::new(),
            "twzrd:v1:".to_owned(),
            format!("twzrd:v2:1:lacy:12:{hex}"),
            format!("twzrd:v1:1::12:{hex}"),
            format!("twzrd:v1:1:Lacy:12:{hex}"),
            format!("twzrd:v1:01:lacy:12:{hex}"),
            format!("twzrd:v1:1:lacy:+12:{hex}"),
            format!("twzrd:v1:1:lacy:12:0x{hex}"),
            format!("twzrd:v1:1:lacy:12:{}", hex.to_uppercase()),
            format!("twzrd:v1:1:lacy:12:{hex}\n"),
        ] {
            assert_eq!(parse(&text), None, "{text}");
        }
    }
}
