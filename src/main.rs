//! The one binary. Everything it does is in the library's rooms.

use std::process::ExitCode;

/// Measured on calls of the native wire: less CPU than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if cfg!(feature = "sabotage") {
        eprintln!(
            "quorate: built with the feature `sabotage`, which is for tests: build it without"
        );
        return ExitCode::FAILURE;
    }
    quorate::cli::main(std::env::args_os())
}
