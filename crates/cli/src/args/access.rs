//! Devices, tokens and keys.

use std::time::Duration;

use clap::Subcommand;
use holdfast_domain::{Name, TokenId};
use holdfast_wire::Role;

use super::{DevicesFilter, StoreArgs, duration, label};

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Make a device, and print the key that its agent registers with.
    Add {
        /// Its name.
        name: Name,
        /// A label; may be given several times.
        #[arg(long = "label", short = 'l', value_parser = label, value_name = "KEY=VALUE")]
        labels: Vec<(String, String)>,
    },
    /// Delete a device.
    #[command(visible_alias = "remove")]
    Rm {
        /// Device, by name or UUID.
        device: String,
        /// Also while its agent may still hold outputs. Not needed if no agent ever registered for it.
        #[arg(long)]
        force: bool,
    },
    /// Print a key with which another agent takes the device over; the old agent's access ends then.
    Rekey {
        /// Device, by name or UUID.
        device: String,
    },
    /// List devices.
    #[command(visible_alias = "ls")]
    List(DevicesFilter),
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is shown once.
    Create {
        /// What people call it; the author of what is done with it.
        name: Name,
        /// What it allows: viewer, operator, admin.
        #[arg(
            long,
            default_value = "operator",
            default_value_if("bootstrap", "true", "admin")
        )]
        role: Role,
        /// When it ends by itself, such as 30d; left out: never.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        expires_in: Option<Duration>,
        /// Make it on the store itself: the first token, when there is none to ask with.
        #[arg(long)]
        bootstrap: bool,
        /// Keep it as this user's token for the hub.
        #[arg(long)]
        save: bool,
        /// With --bootstrap: which store.
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List tokens.
    #[command(visible_alias = "ls")]
    List,
    /// End a token.
    Revoke {
        /// Its id.
        id: TokenId,
    },
}

/// What to do with provisioning keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its secret is shown once.
    Create {
        /// What people call it.
        name: Name,
        /// Bind it to this device; left out: each use makes a new device.
        #[arg(long)]
        device: Option<String>,
        /// How often it can be used; left out: without end.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        uses: Option<u32>,
        /// When it ends by itself, such as 8h; left out: never.
        #[arg(long, value_parser = duration, value_name = "TIME")]
        expires_in: Option<Duration>,
    },
    /// List keys.
    #[command(visible_alias = "ls")]
    List,
    /// End a key.
    Revoke {
        /// Its id.
        id: TokenId,
    },
}
