//! `primary token`: makes tokens and keys on the command line, without a node.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use super::{Token, is_id, is_scope, keys};

/// Prints a token to join streams with, or a new key for the file of keys.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Mint {
    /// The file of keys, of which the first signs
    #[arg(
        long,
        env = "SPILLWAY_TOKEN_KEYS",
        value_name = "FILE",
        required_unless_present = "new_key"
    )]
    token_keys: Option<PathBuf>,
    /// The stream it is for; with `*` at the end all that begin so, `*` alone is all there are
    #[arg(long, value_name = "NAME", required_unless_present = "new_key")]
    stream: Option<String>,
    /// The class of viewers that its holder is of, which `--weight class:NAME=` of a node makes count more or less
    #[arg(long, value_name = "NAME", conflicts_with = "new_key")]
    class: Option<String>,
    /// How long streams can be joined with it: a number and s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = time)]
    ttl: Duration,
    /// Print a line for the file of keys instead: a new key called so
    #[arg(long, value_name = "ID", conflicts_with = "stream")]
    new_key: Option<String>,
}

impl Mint {
    /// The line to print.
    pub fn line(&self) -> anyhow::Result<String> {
        if let Some(id) = &self.new_key {
            return keys::new_key(id);
        }
        let file = self
            .token_keys
            .as_ref()
            .context("no --token-keys FILE to sign with")?;
        let stream = self
            .stream
            .as_deref()
            .context("no --stream NAME to sign for")?;
        anyhow::ensure!(
            is_scope(stream),
            "stream {stream:?} is not 1 to 64 letters, digits, '-' or '_', with or without '*' at the end"
        );
        let class = self.class.as_deref();
        anyhow::ensure!(
            class.is_none_or(is_id),
            "class {:?} is not 1 to 32 letters, digits, '-' or '_'",
            class.unwrap_or_default()
        );
        let token = Token {
            scope: stream,
            class,
            expires: keys::now().saturating_add(self.ttl.as_secs()),
        };
        Ok(keys::read(file)?.sign_all(&token))
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number and s, m, h or d, such as 2h");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("2h", 7200), ("30d", 2_592_000), ("0m", 0)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "2", "h", "2 h", "-1h", "2µ"] {
            assert!(time(text).is_err(), "{text:?}");
        }
    }
}
