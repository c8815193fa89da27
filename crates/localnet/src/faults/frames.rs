//! Frames of a WebSocket as a server sends them, as far as a proxy has to know them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The largest frame that is passed on, in bytes.
const MAX_FRAME: u64 = 4 * 1024 * 1024;

/// The largest head of the answer to the upgrade, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// A frame, with its header as it came.
pub(super) struct Frame {
    /// All of its bytes.
    pub(super) bytes: Vec<u8>,
    /// Where its payload begins.
    payload: usize,
}

impl Frame {
    /// Which notification it is, `logsNotification` for one; none where it is none.
    pub(super) fn notification(&self) -> Option<String> {
        let text: serde_json::Value = serde_json::from_slice(&self.bytes[self.payload..]).ok()?;
        let method = text["method"].as_str()?;
        method.ends_with("Notification").then(|| method.to_owned())
    }
}

/// Reads the head of the answer to an upgrade, up to and with its empty line.
pub(super) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a head of more than {MAX_HEAD} bytes"),
            ));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// Reads a frame. A server does not mask what it sends.
pub(super) async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut bytes = vec![0; 2];
    stream.read_exact(&mut bytes).await?;
    let more = match bytes[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut length = [0; 8];
    stream.read_exact(&mut length[8 - more..]).await?;
    bytes.extend_from_slice(&length[8 - more..]);
    let length = if more == 0 {
        u64::from(bytes[1] & 0x7f)
    } else {
        u64::from_be_bytes(length)
    };
    if length > MAX_FRAME || bytes[1] & 0x80 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes; expected at most {MAX_FRAME}, without a mask"),
        ));
    }
    let payload = bytes.len();
    bytes.resize(payload + usize::try_from(length).unwrap_or(0), 0);
    stream.read_exact(&mut bytes[payload..]).await?;
    Ok(Frame { bytes, payload })
}
