//! What happens on chain: a socket says that there is something, and the node what it is.

use tokio::time::timeout;
use twzrd_chain::activity::{ProgramActivity, SocketConfig, Subscriber as _, WebSocket};
use twzrd_chain::program::Program;
use twzrd_chain::program::memo::{self, MEMO_PROGRAM};
use twzrd_chain::target::{MemoTarget, TargetConfig};
use twzrd_domain::chain::{ChainActivity, Deed, Followed, Mark, RootChain};

use crate::memo::{draft, finalized, roots};
use crate::validator::{PATIENCE, Validator, signer};

async fn after(activity: &ProgramActivity, mark: Option<&Mark>, limit: usize) -> Vec<Mark> {
    let followed = Followed {
        mark: mark.cloned(),
        known: None,
    };
    activity.after(&followed, limit).await.unwrap().marks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_tells_of_a_transaction_and_it_is_listed_and_read_once_it_is_finalized() {
    let validator = Validator::start().await;
    let key = validator.funded();
    let target = MemoTarget::new(validator.pool(), signer(&key), TargetConfig::default());
    let followed = Program {
        id: MEMO_PROGRAM,
        ..Program::default()
    };
    let urls = [validator.ws_url()];
    let socket = WebSocket::new(&urls, followed.id, SocketConfig::default()).unwrap();
    let mut subscription = socket.subscribe().await.unwrap();
    let activity = ProgramActivity::new(validator.pool(), followed, Box::new(socket));
    assert_eq!(after(&activity, None, 10).await, []);

    let mut marks = Vec::new();
    for number in 1..=3 {
        let roots = roots(2, number);
        let signed = draft(&target, &roots).await.signed.unwrap();
        target.send(&signed).await.unwrap();
        timeout(PATIENCE, subscription.next())
            .await
            .unwrap()
            .unwrap();
        let slot = finalized(&target, &signed).await;
        let mark = Mark {
            slot,
            signature: signed.signature.clone(),
        };
        let behind = after(&activity, marks.last(), 10).await;
        assert_eq!(behind, std::slice::from_ref(&mark));

        let read = activity.read(&mark).await.unwrap();
        assert_eq!(read.mark, mark);
        assert!(read.block_time.is_some());
        let places: Vec<_> = read.actions.iter().map(|it| it.index).collect();
        assert_eq!(places, [2, 3], "behind the two of the budget");
        for (action, root) in read.actions.iter().zip(&roots) {
            // Its tag is the line's beginning, of which the program knows no instruction.
            assert_eq!(action.deed, Deed::Other);
            let line: serde_json::Value = serde_json::from_str(&action.json).unwrap();
            let expected = format!("unknown:{}", hex::encode(&memo::line(root)[..8]));
            assert_eq!(line["instruction"]["action"], expected);
            assert_eq!(line["signature"], signed.signature.as_str());
            assert_eq!(line["slot"], slot);
            assert_eq!(line["meta"]["fee"], signed.fee_lamports);
        }
        marks.push(mark);
    }
    // The oldest first, however many are asked for, from the begin or from behind one.
    assert_eq!(after(&activity, None, 10).await, marks);
    assert_eq!(after(&activity, None, 2).await, marks[..2]);
    assert_eq!(after(&activity, Some(&marks[0]), 10).await, marks[1..]);
    assert_eq!(after(&activity, Some(&marks[0]), 1).await, marks[1..2]);
    assert_eq!(after(&activity, Some(&marks[2]), 10).await, []);
    // A socket that ends is told.
    drop(validator);
    let ended = async { while subscription.next().await.is_ok() {} };
    timeout(PATIENCE, ended).await.unwrap();
}
