//! How stores are reached: credentials, rules, retries and limits.

use std::path::PathBuf;
use std::time::Duration;

use crate::{AccessRules, Credentials, Identity};

/// What is needed to reach a store. Nothing is read from the process environment.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The credentials.
    pub credentials: Credentials,
    /// The pod's own identity; used only where [`rules`](Self::rules) allow it and the credentials hold no keys.
    pub identity: Identity,
    /// Which addresses may be asked.
    pub rules: AccessRules,
    /// How long a failing request is tried again.
    pub retry: Retry,
    /// How much is read at a time.
    pub transfers: Transfers,
    /// How much a source may be.
    pub limits: Limits,
    /// Where the volume of a `pvc://` uri is mounted; `None` where there are no volumes.
    pub volume: Option<PathBuf>,
    /// The endpoint of an Azure or Google store that is not the public one (an emulator, a private cloud). S3
    /// endpoints come as `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
}

/// How long a request that fails for a passing reason (no connection, time-out, HTTP 408, 429, 5xx) is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// No further attempt begins after this time.
    pub timeout: Duration,
    /// The most attempts after the first.
    pub attempts: usize,
}

impl Retry {
    /// For `resolve`: 20 seconds.
    pub const RESOLVE: Self = Self { timeout: Duration::from_secs(20), attempts: 10 };
    /// For `fetch` of a training and `publish`: 120 seconds.
    pub const FETCH: Self = Self { timeout: Duration::from_mins(2), attempts: 30 };
    /// For the first `fetch` of a server pod: short, because nobody sees what is wrong before it ends.
    pub const FIRST_FETCH: Self = Self { timeout: Duration::from_secs(10), attempts: 10 };
    /// For its next ones: the pod says meanwhile why the first ended, and a pod that waits for its kubelet's pause, which
    /// grows to 5 minutes, would notice later that the store is back.
    pub const NEXT_FETCH: Self = Self { timeout: Duration::from_mins(10), attempts: 600 };
    /// The first failure is final.
    pub const NEVER: Self = Self { timeout: Duration::ZERO, attempts: 0 };
}

impl Default for Retry {
    fn default() -> Self {
        Self::RESOLVE
    }
}

/// How much is read at a time. A transfer holds at most `chunk_bytes × (concurrency + 1)` of content in memory
/// (72 MiB by default); files are moved one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfers {
    /// The bytes of one ranged read, and of one part of an upload; at least 5 MiB for uploads to S3.
    pub chunk_bytes: u32,
    /// The reads, or uploads of parts, at the same time.
    pub concurrency: usize,
}

impl Default for Transfers {
    fn default() -> Self {
        Self { chunk_bytes: 8 << 20, concurrency: 8 }
    }
}

/// How much a source may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of all files together.
    pub total_bytes: u64,
    /// The most objects that a prefix may hold.
    pub objects: usize,
}

impl Default for Limits {
    /// 1 TiB and 10,000 objects.
    fn default() -> Self {
        Self { total_bytes: 1 << 40, objects: 10_000 }
    }
}
