//! The help of the whole: its commands by what they are for, and examples. And completions for shells, which come from
//! the same description of the command line.

use std::fmt::Write;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, exit};

/// The commands by what they are for.
const GROUPS: &[(&str, &[&str])] = &[
    ("Running", &["init", "check", "run", "reload", "config", "metrics", "token"]),
    ("Miners", &["account", "connections", "bans"]),
    ("Money", &["payout", "reserve", "ledger"]),
    ("Register", &["export", "screening", "party", "sale"]),
    ("Tools", &["probe", "store", "completions", "help"]),
];

/// What there is no group for yet.
const OTHERS: &str = "Other";

/// Where each command has its place in the help.
const TEMPLATE_BEGIN: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n";
const TEMPLATE_END: &str = "Options:\n{options}{after-help}";

const EXAMPLES: &str = "\
Examples:
  adit init --network testnet4 --dir pool
  adit check --config pool/adit.toml
  adit run --config pool/adit.toml
  adit help payout";

/// For which shell to write completions.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    pub shell: Shell,
}

/// The description of the command line, with the commands in their groups.
pub fn command() -> Command {
    let command = Cli::command();
    let template = format!("{TEMPLATE_BEGIN}{}{TEMPLATE_END}", grouped(&command));
    command.help_template(template).after_help(format!("{EXAMPLES}\n\n{}", exit::list()))
}

/// The script by which a shell completes commands and options.
pub fn completions(arguments: CompletionsArguments) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "adit", &mut script);
    script
}

/// The end of the help of `adit completions`.
pub(super) fn completions_example() -> String {
    exit::example("adit completions bash > ~/.local/share/bash-completion/completions/adit")
}

fn grouped(command: &Command) -> String {
    let about = |name: &str| match name {
        "help" => Some("Print this help, or that of a command".to_owned()),
        name => command.find_subcommand(name).and_then(Command::get_about).map(ToString::to_string),
    };
    let width = command.get_subcommands().map(|each| each.get_name().len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut list = |heading: &str, names: &mut dyn Iterator<Item = &str>| {
        let lines: Vec<_> = names.filter_map(|name| Some((name, about(name)?))).collect();
        if !lines.is_empty() {
            let _ = writeln!(text, "{heading}:");
            for (name, about) in lines {
                let _ = writeln!(text, "  {name:<width$}  {about}");
            }
            text.push('\n');
        }
    };
    for (heading, names) in GROUPS {
        list(heading, &mut names.iter().copied());
    }
    let has_group = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let visible = command.get_subcommands().filter(|each| !each.is_hide_set());
    list(OTHERS, &mut visible.map(Command::get_name).filter(|name| !has_group(name)));
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn help_has_every_command_once_in_its_group() {
        let help = command().render_long_help().to_string();
        assert!(!help.contains(&format!("\n{OTHERS}:")), "{help}");
        for each in Cli::command().get_subcommands().filter(|each| !each.is_hide_set()) {
            let name = each.get_name();
            let lines =
                help.lines().filter(|line| line.strip_prefix("  ").unwrap_or("").split(' ').next() == Some(name));
            assert_eq!(lines.count(), 1, "{name} in\n{help}");
        }
        for (heading, _) in GROUPS {
            assert!(help.contains(&format!("\n{heading}:\n")), "{heading} in\n{help}");
        }
        assert!(help.contains("Exit status:\n  0  done\n") && help.contains("--version"), "{help}");
    }

    #[test]
    fn every_command_has_an_example() {
        fn look(command: &Command, path: &str) {
            if !command.has_subcommands() {
                let help = command.clone().render_long_help().to_string();
                assert!(help.contains(&format!("Example:\n  {path}")), "{path}:\n{help}");
            }
            for each in command.get_subcommands() {
                look(each, &format!("{path} {}", each.get_name()));
            }
        }
        look(&Cli::command(), "adit");
    }

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(completions(CompletionsArguments { shell: *shell })).unwrap();
            assert!(script.contains("adit") && script.contains("screening") && script.contains("only-set"), "{shell}");
        }
    }
}
