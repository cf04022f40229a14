//! `adit check`: whether the configuration can be used, and each of its nodes.

use std::fmt::Write;

use crate::{
    cli::table::{Align, Table},
    config::Config,
    template::nodes::Nodes,
};

/// Asks each node where it stands. Returns what to print, and how many of them cannot be used.
pub async fn perform(config: &Config) -> (String, usize) {
    let nodes = Nodes::new(&config.bitcoind, config.network);
    let mut table = Table::new([("NODE", Align::Left), ("HEIGHT", Align::Right), ("BEST BLOCK", Align::Left)]);
    let mut troubles = String::new();
    let mut unfit = 0;
    for node in nodes.all() {
        match node.check_ready().await {
            Ok(info) => table.push([node.name().to_owned(), info.blocks.to_string(), info.best_block.to_string()]),
            Err(error) => {
                unfit += 1;
                table.push([node.name().to_owned(), "-".to_owned(), "-".to_owned()]);
                let _ = writeln!(troubles, "{}: {error}", node.name());
            }
        }
    }
    (format!("{table}{troubles}"), unfit)
}
