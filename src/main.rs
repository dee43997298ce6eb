//! The gateway's binary: allocator, TLS provider, runtime, exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use antigravity_proxy::cli::{self, Cli, Exit};

#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(message) => {
            // Help and version are "errors" with exit code 0; a closed standard output is no reason to complain.
            message.print().ok();
            return if message.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    // Fails only when a provider is installed already: then there is one.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::run(cli)).into(),
        Err(error) => {
            cli::complain(&format!("the runtime cannot start: {error}"));
            Exit::Failed.into()
        }
    }
}
