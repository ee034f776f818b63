//! Why a server could not start.

use std::io;
use std::net::SocketAddr;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the port.
    #[error(
        "{address} is already in use; stop the process that listens there or choose another port with {option} (port 0 picks a free one)"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
        /// The command line option that sets it.
        option: &'static str,
    },
    /// The operating system refuses the address for another reason.
    #[error("cannot listen on {address} ({option}): {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The command line option that sets it.
        option: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The thread of the admin port could not be started.
    #[error("cannot start the thread of the admin port: {0}")]
    AdminThread(#[source] io::Error),
    /// A thread that serves the data port could not be started.
    #[error("cannot start the threads of the data port: {0}")]
    IoThread(#[source] io::Error),
}

impl Error {
    pub(crate) fn bind(address: SocketAddr, option: &'static str, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::AddressInUse { address, option }
        } else {
            Self::Bind { address, option, source }
        }
    }
}
