//! Keeps ONNX Runtime from reporting to its makers.
//!
//! From release 1.32 on the library starts to send usage data when it is loaded, and writes a device's number to the
//! user's cache folder. Its call to stop that comes too late for what happens at the start; only an environment variable
//! that is there before keeps it from starting.

use std::env;

/// The variable that ONNX Runtime asks for, with the value `1`.
pub const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";

/// Sets [`VARIABLE`] for this process and those that it starts, unless it is set. Call it first in `main`.
///
/// Answers whether ONNX Runtime will be quiet: `false` where other threads run already, or where that cannot be told, because the
/// environment can then not be changed safely. Set the variable from outside there.
pub fn refuse() -> bool {
    if is_refused() {
        return true;
    }
    if !alone() {
        return false;
    }
    set();
    true
}

/// Whether [`VARIABLE`] keeps ONNX Runtime from reporting.
pub(crate) fn is_refused() -> bool {
    env::var_os(VARIABLE).is_some_and(|value| value == "1")
}

/// Whether this is the only thread of the process.
fn alone() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

#[expect(unsafe_code, reason = "the environment belongs to every thread, C libraries' included")]
fn set() {
    // SAFETY: this is the only thread, so nobody reads or changes the environment meanwhile.
    unsafe { env::set_var(VARIABLE, "1") };
}
