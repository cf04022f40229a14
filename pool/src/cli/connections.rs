//! `adit connections`: its arguments, and what it prints of the connections of miners.

use clap::{Args, Subcommand};

use super::{
    account::hash_rate,
    books::utc,
    exit,
    port::ask,
    request::{CommonArguments, printed},
    table::{Align, Table},
};
use crate::operations::{
    Request,
    connection::{ConnectionReport, Connections, MAX_LISTED},
};

/// What to do with connections.
#[derive(Clone, Debug, Subcommand)]
pub enum ConnectionsCommand {
    /// Print the connections that are open: who they are, how they mine, and when they were heard last
    #[command(after_help = exit::example_for_running("adit connections list --limit 50"))]
    List(ListArguments),
    /// End a connection at once
    #[command(after_help = exit::example_for_running("adit connections kick 17"))]
    Kick(WhichArguments),
    /// Ask a client to connect again (SV2 Reconnect), and end its connection
    #[command(after_help = exit::example_for_running("adit connections drain 17"))]
    Drain(WhichArguments),
}

/// Which connections to print.
#[derive(Clone, Debug, Args)]
pub struct ListArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// How many at most, in the order of their arrival
    #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LISTED)))]
    pub limit: u32,
    /// Those alone that came after the connection of this number
    #[arg(long, value_name = "CONNECTION")]
    pub after: Option<u64>,
}

/// Which connection is meant.
#[derive(Clone, Debug, Args)]
pub struct WhichArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Its number, as adit connections list shows it
    #[arg(value_name = "CONNECTION")]
    pub connection: u64,
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When no pool runs, it does not answer, or there is no such connection.
pub async fn perform(command: ConnectionsCommand) -> anyhow::Result<String> {
    let (common, request) = match command {
        ConnectionsCommand::List(ListArguments { common, limit, after }) => {
            (common, Request::Connections { after, limit })
        }
        ConnectionsCommand::Kick(WhichArguments { common, connection }) => (common, Request::Kick { connection }),
        ConnectionsCommand::Drain(WhichArguments { common, connection }) => (common, Request::Drain { connection }),
    };
    printed(&ask(&common.config, request).await?, &common)
}

/// The text for the connections that are open.
pub(super) fn listed(listed: &Connections) -> anyhow::Result<String> {
    let Connections { connections, open } = listed;
    let Some(last) = connections.last() else { return Ok(format!("Connections listed: 0 of {open}.\n")) };
    let mut table = Table::new([
        ("CONNECTION", Align::Right),
        ("PEER", Align::Left),
        ("DEVICE", Align::Left),
        ("CHANNELS", Align::Right),
        ("HASH RATE", Align::Right),
        ("ACCEPTED", Align::Right),
        ("REFUSED", Align::Right),
        ("LAST HEARD", Align::Left),
    ]);
    for connection in connections {
        table.push([
            connection.connection.to_string(),
            connection.peer.clone(),
            device(connection),
            connection.channels.to_string(),
            hash_rate(connection.hash_rate),
            connection.accepted.to_string(),
            connection.refused.to_string(),
            connection.last_frame_at_ms.map(utc).transpose()?.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let more = match connections.len() {
        all if all == *open => String::new(),
        some => format!("\nConnections listed: {some} of {open}. Later ones: --after {}.\n", last.connection),
    };
    Ok(format!("{table}{more}"))
}

/// What a client has said of itself, without signs that a terminal would follow; else how far it came.
fn device(connection: &ConnectionReport) -> String {
    let Some(set_up) = &connection.set_up else { return format!("({})", connection.stage.replace('_', " ")) };
    let said = [&set_up.vendor, &set_up.hardware, &set_up.firmware];
    let said: Vec<_> = said.into_iter().filter(|text| !text.is_empty()).map(String::as_str).collect();
    let shown: String = said.join(" ").chars().map(|sign| if sign.is_control() { '\u{fffd}' } else { sign }).collect();
    if shown.is_empty() { "-".to_owned() } else { shown }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::operations::connection::SetUpReport;

    fn connection(number: u64, vendor: Option<&str>) -> ConnectionReport {
        let set_up = |vendor: &str| SetUpReport {
            at_ms: 0,
            vendor: vendor.to_owned(),
            hardware: "S21".to_owned(),
            firmware: String::new(),
            device: "rig".to_owned(),
            flags: 0,
            version: 2,
        };
        ConnectionReport {
            connection: number,
            peer: "192.0.2.1:40000".to_owned(),
            stage: "connected".to_owned(),
            arrived_at_ms: 0,
            answered_at_ms: None,
            set_up: vendor.map(set_up),
            extensions: Vec::new(),
            channels: 1,
            nominal_hash_rate: 0.0,
            hash_rate: 1.5e14,
            shares_per_minute: 6.0,
            accepted: 7,
            refused: 1,
            last_frame_at_ms: vendor.map(|_| 1_700_000_000_000),
            last_error: None,
            ended: None,
        }
    }

    #[test]
    fn connections_stand_in_a_table_without_what_a_terminal_would_follow() {
        let connections = vec![connection(3, Some("Bit\u{1b}[31mmain")), connection(4, None)];
        let text = listed(&Connections { connections, open: 9 }).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let first = [
            "3",
            "192.0.2.1:40000",
            "Bit\u{fffd}[31mmain",
            "S21",
            "1",
            "150",
            "TH/s",
            "7",
            "1",
            "2023-11-14T22:13:20Z",
        ];
        assert_eq!(lines[1], first);
        assert_eq!(lines[2][2..4], ["(connected)", "1"]);
        assert!(text.ends_with("Connections listed: 2 of 9. Later ones: --after 4.\n"), "{text}");
        let whole = listed(&Connections { connections: vec![connection(3, None)], open: 1 }).unwrap();
        assert_eq!(whole.lines().count(), 2, "{whole}");
        let none = listed(&Connections { connections: Vec::new(), open: 0 }).unwrap();
        assert_eq!(none, "Connections listed: 0 of 0.\n");
    }
}
