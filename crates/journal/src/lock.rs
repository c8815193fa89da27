//! The lock on a folder: one process writes it, and says who it is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::JournalError;

use crate::files::unavailable;

/// The file that is locked.
pub(crate) const LOCK: &str = "LOCK";

/// How often, and how long each time, an older writer of this very process is waited for.
const PATIENCE: (u32, Duration) = (50, Duration::from_millis(20));

/// Held as long as anything may write in the folder. The operating system gives it up when the
/// process ends, however it ends; the file stays.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. Blocks for about a second where this very process holds it, since its older
    /// writer may be finishing.
    pub(crate) fn take(folder: &Path, now: UnixMs) -> Result<Self, JournalError> {
        let path = folder.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| unavailable("open the lock", &path, &error))?;
        for waited in 0.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(unavailable("take the lock", &path, &error));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = Holder::read(&path);
                    if waited >= PATIENCE.0 || !holder.is_this_process() {
                        return Err(JournalError::Locked {
                            folder: folder.display().to_string(),
                            holder: holder.to_string(),
                        });
                    }
                    std::thread::sleep(PATIENCE.1);
                }
            }
        }
        let text = Holder::this_process(now).to_text();
        let said = file
            .set_len(0)
            .and_then(|()| file.write_all(text.as_bytes()));
        if let Err(error) = said {
            // The lock holds without it; only the one who is refused learns less.
            tracing::warn!(file = %path.display(), %error, "cannot say who holds the lock");
        }
        Ok(Self { _file: file })
    }
}

/// Who holds the lock, as the file tells it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holder {
    pid: Option<u32>,
    host: String,
    since: String,
}

impl Holder {
    fn this_process(now: UnixMs) -> Self {
        Self {
            pid: Some(std::process::id()),
            host: host(),
            since: utc(now),
        }
    }

    fn read(path: &Path) -> Self {
        let mut text = String::new();
        // Whoever holds it may be writing this moment; then less is known, and nothing is wrong.
        let _ = File::open(path).and_then(|file| file.take(4096).read_to_string(&mut text));
        let mut holder = Self::default();
        for line in text.lines() {
            match line.split_once('=') {
                Some(("pid", value)) => holder.pid = value.parse().ok(),
                Some(("host", value)) => value.clone_into(&mut holder.host),
                Some(("since", value)) => value.clone_into(&mut holder.since),
                _ => {}
            }
        }
        holder
    }

    fn to_text(&self) -> String {
        let pid = self.pid.unwrap_or_default();
        format!("pid={pid}\nhost={}\nsince={}\n", self.host, self.since)
    }

    fn is_this_process(&self) -> bool {
        self.pid == Some(std::process::id()) && self.host == host()
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid} on {} since {}", self.host, self.since),
            None => f.write_str("another process, which has not said its name yet"),
        }
    }
}

/// The name of this machine, where the operating system tells it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() {
        "this host".to_owned()
    } else {
        name.to_owned()
    }
}

/// A time as people read it, in UTC, to the second.
fn utc(at: UnixMs) -> String {
    let seconds = at / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of the year 0; every 400 years of the Gregorian calendar are alike.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399_999), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_709_251_200_000), "2024-03-01T00:00:00Z");
        assert_eq!(utc(1_735_689_599_000), "2024-12-31T23:59:59Z");
    }

    #[test]
    fn a_holder_that_has_not_said_its_name_is_still_told_as_somebody() {
        assert_eq!(
            Holder::default().to_string(),
            "another process, which has not said its name yet"
        );
    }
}
