//! The exit statuses of `adit`: the one place that says what each means and which error has which.

use std::fmt::Write;

use crate::{config::ConfigError, control::NoPool, probe::Unreachable};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// It did what it was asked for.
    Done = 0,
    /// It could not, or has found something that is not as it must be.
    Failed = 1,
    /// The command line is wrong; nothing was done.
    WrongCommandLine = 2,
    /// The config file or the environment is wrong; nothing was done.
    WrongConfiguration = 3,
    /// The pool to probe cannot be reached.
    Unreachable = 4,
    /// No pool runs, and only a running one can do what was asked.
    NoPool = 5,
}

impl ExitStatus {
    /// All of them, by their numbers.
    pub const ALL: [ExitStatus; 6] =
        [Self::Done, Self::Failed, Self::WrongCommandLine, Self::WrongConfiguration, Self::Unreachable, Self::NoPool];

    /// The number that a shell sees.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed, or something is not as it must be",
            Self::WrongCommandLine => "the command line is wrong",
            Self::WrongConfiguration => "the configuration is wrong",
            Self::Unreachable => "the pool to probe cannot be reached",
            Self::NoPool => "no pool runs, and only a running one can do this",
        }
    }

    /// The status of a command that ended with an error.
    pub fn of(error: &anyhow::Error) -> Self {
        match () {
            () if error.is::<ConfigError>() => Self::WrongConfiguration,
            () if error.is::<Unreachable>() => Self::Unreachable,
            () if error.is::<NoPool>() => Self::NoPool,
            () => Self::Failed,
        }
    }
}

/// All statuses, a line each, for the help of the whole.
pub(super) fn list() -> String {
    ExitStatus::ALL.iter().fold("Exit status:".to_owned(), |mut text, status| {
        let _ = write!(text, "\n  {}  {}", status.code(), status.meaning());
        text
    })
}

/// Those that most commands can end with, for the help of one.
pub(super) fn line() -> String {
    let common = [ExitStatus::Done, ExitStatus::Failed, ExitStatus::WrongCommandLine, ExitStatus::WrongConfiguration];
    format!("Exit status: {}", common.map(|status| format!("{} {}", status.code(), status.meaning())).join("; "))
}

/// The end of the help of a command that needs no running pool.
pub(super) fn example(command: &str) -> String {
    format!("Example:\n  {command}\n\n{}", line())
}

/// The end of the help of a command that only a running pool can do.
pub(super) fn example_for_running(command: &str) -> String {
    let no_pool = ExitStatus::NoPool;
    format!("{}; {} {}", example(command), no_pool.code(), no_pool.meaning())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context;

    use super::*;

    #[test]
    fn errors_have_the_status_of_what_is_at_fault_also_with_context() {
        let wrong = ConfigError::Invalid { key: "network".to_owned(), reason: "is none".to_owned() };
        let wrapped = Err::<(), _>(wrong).context("cannot start").expect_err("it is one");
        assert_eq!(ExitStatus::of(&wrapped), ExitStatus::WrongConfiguration);
        let no_pool = anyhow::Error::from(NoPool { data_dir: PathBuf::from("data") });
        assert_eq!(ExitStatus::of(&no_pool), ExitStatus::NoPool);
        assert_eq!(ExitStatus::of(&anyhow::anyhow!("disk full")), ExitStatus::Failed);
    }

    #[test]
    fn statuses_are_numbered_as_they_are_listed() {
        for (number, status) in (0..).zip(ExitStatus::ALL) {
            assert_eq!(status.code(), number);
            assert!(list().contains(&format!("\n  {number}  {}", status.meaning())));
        }
    }
}
