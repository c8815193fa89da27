//! One line for each event of interest, and no more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use support::{Log, Msg, Probe, intensity, ms, silence_scripted_panics};
use tracing_subscriber::fmt::MakeWriter;
use twzrd_supervision::{Backoff, ChildState, Options, Shutdown, Stall, SupervisorSpec};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn capture() -> (Lines, tracing::subscriber::DefaultGuard) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_env_filter("twzrd_supervision=info")
        .without_time()
        .with_target(false)
        .with_ansi(false)
        .finish();
    (lines, tracing::subscriber::set_default(subscriber))
}

#[tokio::test(start_paused = true)]
async fn starts_exits_restarts_escalations_and_late_stops_are_one_line_each() {
    silence_scripted_panics();
    let (lines, _capturing) = capture();
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let wait = Backoff {
        initial: ms(70),
        max: ms(70),
        jitter: 0.0,
        reset_after: ms(0),
    };
    let spec = SupervisorSpec::new("root")
        .intensity(intensity(1, ms(1000)))
        .child(a.spec().backoff(wait))
        .child(b.spec().shutdown(Shutdown::Deadline(ms(10))));
    let tree = twzrd_supervision::start(spec, Options::default())
        .await
        .unwrap();
    a.tell(Msg::Fail);
    a.incarnation(2).await;
    b.tell(Msg::Hang);
    log.wait("hang b", 1).await;
    a.tell(Msg::Fail);
    tree.exited().await;
    let gave_up = "gave up: `root/a` asked for more than 1 restarts within 1000 ms, last exit: \
                   error: scripted failure";
    let expected = [
        "INFO child started child=root/a incarnation=1".to_owned(),
        "INFO child started child=root/b incarnation=1".to_owned(),
        "WARN child exited child=root/a reason=error: scripted failure".to_owned(),
        "INFO child will restart child=root/a delay_ms=70".to_owned(),
        "INFO child started child=root/a incarnation=2".to_owned(),
        "WARN child exited child=root/a reason=error: scripted failure".to_owned(),
        format!("ERROR supervisor gives up supervisor=root reason={gave_up}"),
        "WARN child is late to stop, killing it child=root/b".to_owned(),
        "INFO child exited child=root/b reason=killed".to_owned(),
    ];
    assert_eq!(lines.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_one_line_when_it_begins_and_one_when_it_ends() {
    let (lines, _capturing) = capture();
    let log = Log::new();
    let a = Probe::new("a", &log);
    let stall = Stall {
        after: ms(100),
        kill: false,
    };
    let tree = support::start(SupervisorSpec::new("root").child(a.spec().stall(stall))).await;
    lines.take();
    a.tell(Msg::Busy(ms(5000)));
    a.echo(1).await;
    tokio::time::sleep(ms(1000)).await;
    assert_eq!(support::state(&tree, "root/a"), ChildState::Running);
    let expected = [
        "WARN child is stalled child=root/a handler=Message kill=false",
        "INFO child is no longer stalled child=root/a",
    ];
    assert_eq!(lines.take(), expected);
}
