//! A WebSocket of a node: subscriptions to slots, logs and signatures.

use std::collections::BTreeMap;

use axum::extract::ws::{Message, WebSocket};
use serde_json::{Value, json};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use tokio::sync::watch;

use crate::Node;
use crate::events::Event;
use crate::ledger::{Commitment, Landed};
use crate::rpc::{RpcError, err_json, level};
use crate::serve::answer;

/// How many subscriptions a socket may have.
const MAX_SUBSCRIPTIONS: usize = 64;

/// What one subscription asks for.
enum Wanted {
    Slots,
    Logs {
        commitment: Commitment,
        mentions: Option<Pubkey>,
    },
    Signature {
        commitment: Commitment,
        signature: Signature,
    },
}

struct Subscriptions {
    node: Node,
    all: BTreeMap<u64, Wanted>,
    last: u64,
}

/// Serves a socket until either side closes it.
pub(super) async fn run(node: Node, mut socket: WebSocket, mut open: watch::Receiver<bool>) {
    let mut events = node.events();
    let mut subscriptions = Subscriptions {
        node,
        all: BTreeMap::new(),
        last: 0,
    };
    loop {
        let texts = tokio::select! {
            _ = open.changed() => break,
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let answer = answer(text.as_bytes(), |method, params| {
                        subscriptions.handle(method, params)
                    });
                    let mut texts = vec![answer.to_string()];
                    texts.extend(subscriptions.reached());
                    texts
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                // Pings are answered by the library, and nothing is sent in binary.
                Some(Ok(_)) => Vec::new(),
            },
            event = events.next() => match event {
                Some(event) => subscriptions.tell(&event),
                None => break,
            },
        };
        for text in texts {
            if socket.send(Message::Text(text.into())).await.is_err() {
                return;
            }
        }
    }
}

impl Subscriptions {
    fn handle(&mut self, method: &str, params: &Value) -> Result<Value, RpcError> {
        match method {
            "slotSubscribe" => self.add(Wanted::Slots),
            "logsSubscribe" => {
                let commitment = commitment(&params[1])?;
                let mentions = mentions(&params[0])?;
                self.add(Wanted::Logs {
                    commitment,
                    mentions,
                })
            }
            "signatureSubscribe" => {
                let text = params[0].as_str().unwrap_or_default();
                let signature = text
                    .parse()
                    .map_err(|_| RpcError::invalid("parameter 0 is no signature"))?;
                self.add(Wanted::Signature {
                    commitment: commitment(&params[1])?,
                    signature,
                })
            }
            "slotUnsubscribe" | "logsUnsubscribe" | "signatureUnsubscribe" => {
                let id = params[0].as_u64().unwrap_or_default();
                match self.all.remove(&id) {
                    Some(_) => Ok(json!(true)),
                    None => Err(RpcError::invalid("Invalid subscription id.")),
                }
            }
            other => self.node.handle(other, params),
        }
    }

    fn add(&mut self, wanted: Wanted) -> Result<Value, RpcError> {
        if self.all.len() >= MAX_SUBSCRIPTIONS {
            return Err(RpcError::new(
                -32603,
                format!("{MAX_SUBSCRIPTIONS} subscriptions on this socket; expected fewer"),
            ));
        }
        self.last += 1;
        self.all.insert(self.last, wanted);
        Ok(json!(self.last))
    }

    /// What an event comes to for each subscription.
    fn tell(&mut self, event: &Event) -> Vec<String> {
        let mut texts = Vec::new();
        let mut done = Vec::new();
        for (id, wanted) in &self.all {
            match (wanted, event) {
                (Wanted::Slots, Event::Slot { slot, parent, root }) => {
                    let result = json!({"slot": slot, "parent": parent, "root": root});
                    texts.push(notification("slot", *id, &result));
                }
                (
                    Wanted::Logs {
                        commitment,
                        mentions,
                    },
                    Event::Transaction {
                        commitment: reached,
                        landed,
                    },
                ) if commitment == reached
                    && mentions.is_none_or(|key| landed.keys.contains(&key)) =>
                {
                    texts.push(notification("logs", *id, &logs(landed)));
                }
                (
                    Wanted::Signature {
                        commitment,
                        signature,
                    },
                    Event::Transaction {
                        commitment: reached,
                        landed,
                    },
                ) if commitment == reached && *signature == landed.signature => {
                    texts.push(signed(*id, landed.slot, &err_json(landed.err.as_ref())));
                    done.push(*id);
                }
                _ => {}
            }
        }
        // A signature is told once.
        for id in done {
            self.all.remove(&id);
        }
        texts
    }

    /// Signatures that had come so far before they were asked for.
    fn reached(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        let node = self.node.clone();
        self.all.retain(|id, wanted| {
            let Wanted::Signature {
                commitment,
                signature,
            } = wanted
            else {
                return true;
            };
            let Some((reached, landed)) = node.landed(signature) else {
                return true;
            };
            if reached < *commitment {
                return true;
            }
            texts.push(signed(*id, landed.slot, &err_json(landed.err.as_ref())));
            false
        });
        texts
    }
}

fn commitment(config: &Value) -> Result<Commitment, RpcError> {
    level(config["commitment"].as_str())
}

/// The one account that logs have to mention; none for all.
fn mentions(filter: &Value) -> Result<Option<Pubkey>, RpcError> {
    if filter == "all" || filter == "allWithVotes" {
        return Ok(None);
    }
    let list = filter["mentions"].as_array().filter(|list| list.len() == 1);
    let key = list
        .and_then(|list| list[0].as_str())
        .and_then(|text| text.parse().ok());
    key.map(Some)
        .ok_or_else(|| RpcError::invalid("the filter names no account; expected mentions of one"))
}

fn logs(landed: &Landed) -> Value {
    json!({
        "context": {"slot": landed.slot},
        "value": {
            "signature": landed.signature.to_string(),
            "err": err_json(landed.err.as_ref()),
            "logs": landed.logs,
        },
    })
}

fn signed(id: u64, slot: u64, err: &Value) -> String {
    let result = json!({"context": {"slot": slot}, "value": {"err": err}});
    notification("signature", id, &result)
}

fn notification(kind: &str, id: u64, result: &Value) -> String {
    json!({
        "jsonrpc": "2.0",
        "method": format!("{kind}Notification"),
        "params": {"result": result, "subscription": id},
    })
    .to_string()
}
