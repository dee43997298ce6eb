//! A command on a pseudo-terminal: it believes that a person sits in front of it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::Child;

use crate::gateway::{Home, Log, SOON, until};

/// A running command and what it has written; it is killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    screen: Log,
    reading: Option<std::thread::JoinHandle<()>>,
}

impl Terminal {
    /// Starts a command of `home`.
    pub(crate) fn start(home: &Home, args: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = || Stdio::from(rustix::fs::open(&name, flags, Mode::empty()).unwrap());
        let mut command = home.command(args);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // The command alone keeps the other end open, so that reading ends with it.
        drop(command);
        let keyboard = File::from(keyboard);
        let (mut output, screen) = (keyboard.try_clone().unwrap(), Log::default());
        let shown = screen.clone();
        let reading = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut piece) {
                shown.push(&piece[..read]);
            }
        });
        Self { child, keyboard, screen, reading: Some(reading) }
    }

    /// Waits until the screen shows `text` at least `times`; all that it shows.
    pub(crate) async fn shows(&self, text: &str, times: usize) -> String {
        let shown = async || self.screen.text().matches(text).count() >= times;
        until(&format!("{text} on the screen"), shown).await;
        self.screen.text()
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Waits for the command's end: its exit code, and all that it has shown.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let status = tokio::time::timeout(SOON, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("it does not end: {}", self.screen.text())).unwrap();
        self.reading.take().unwrap().join().unwrap();
        (status.code(), self.screen.text())
    }
}
