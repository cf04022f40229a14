//! `adit token`: its arguments, and what it prints of the tokens of the admin API.

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use payouts::{
    access::{Role, TokenId},
    account::User,
};

use super::{
    books::utc,
    request::{CommonArguments, ask, example, json, printed},
    table::{Align, Table},
};
use crate::{
    config::Config,
    operations::{
        Request, Words,
        token::{TokenAdded, TokenReport, TokenRevoked, list},
    },
    store,
};

/// What to do with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print it this once: it is not kept
    #[command(after_help = example("adit token add alice --role operator"))]
    Add(AddTokenArguments),
    /// Print all tokens: who has them, what they allow, when they were used last; the pool may be running
    #[command(after_help = example("adit token list"))]
    List(CommonArguments),
    /// Revoke a token at once
    #[command(after_help = example("adit token revoke 3"))]
    Revoke(RevokeTokenArguments),
}

/// What a token is for.
#[derive(Clone, Debug, Args)]
pub struct AddTokenArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Who shall have it, or what for. What is done with it is on record under this name
    #[arg(value_name = "LABEL")]
    pub label: Words,
    /// viewer sees, operator decides about payouts, accounts and screening, admin about tokens too; watcher sees one account
    #[arg(long, value_parser = role_parser())]
    pub role: Role,
    /// The account that a watcher sees: its address or name
    #[arg(long, value_name = "ACCOUNT", required_if_eq("role", "watcher"))]
    pub account: Option<User>,
}

/// Which token.
#[derive(Clone, Debug, Args)]
pub struct RevokeTokenArguments {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArguments,
    /// Its number, as adit token list shows it
    #[arg(value_name = "NUMBER")]
    pub token: i64,
}

fn role_parser() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).map(|given| given.parse().expect("only roles are taken"))
}

/// Does what a command says and returns what is to be printed.
///
/// # Errors
///
/// When it was refused or could not be done, with the reason and the cure.
pub async fn perform(command: TokenCommand) -> anyhow::Result<String> {
    let (common, request) = match command {
        TokenCommand::List(common) => {
            let config = Config::load(&common.config.config)?;
            let tokens = list(&*store::open_read_only(&config.store).await?).await?;
            return if common.json { json(&tokens) } else { listed(&tokens) };
        }
        TokenCommand::Add(AddTokenArguments { common, label, role, account }) => {
            (common, Request::AddToken { label, role, account })
        }
        TokenCommand::Revoke(RevokeTokenArguments { common, token }) => {
            (common, Request::RevokeToken { token: TokenId::new(token) })
        }
    };
    let config = Config::load(&common.config.config)?;
    printed(&ask(&config, request).await?, &common)
}

/// The text for a new token.
pub(super) fn added(added: &TokenAdded) -> String {
    let TokenReport { token, label, role, .. } = &added.token;
    format!(
        "Token {token} for {label}, role {role}. It is shown this once, and only its hash is kept:\n\n    {}\n",
        added.secret.expose()
    )
}

/// The text for a token that was revoked.
pub(super) fn revoked(revoked: &TokenRevoked) -> String {
    let TokenReport { token, label, .. } = &revoked.token;
    match revoked.already {
        false => format!("Token {token} of {label} is revoked.\n"),
        true => format!("Token {token} of {label} was revoked already.\n"),
    }
}

fn listed(tokens: &[TokenReport]) -> anyhow::Result<String> {
    if tokens.is_empty() {
        return Ok("There are no tokens.\n".to_owned());
    }
    let mut table = Table::new([
        ("TOKEN", Align::Right),
        ("LABEL", Align::Left),
        ("ROLE", Align::Left),
        ("ACCOUNT", Align::Left),
        ("MADE", Align::Left),
        ("LAST USED", Align::Left),
        ("REVOKED", Align::Left),
    ]);
    let time = |at_ms: Option<i64>| at_ms.map_or(Ok("-".to_owned()), utc);
    for token in tokens {
        table.push([
            token.token.to_string(),
            token.label.clone(),
            token.role.to_string(),
            token.account.map_or("-".to_owned(), |account| account.to_string()),
            utc(token.created_at_ms)?,
            time(token.last_used_at_ms)?,
            time(token.revoked_at_ms)?,
        ]);
    }
    Ok(table.to_string())
}
