//! What TLS is made with.

use rustls::crypto::{CryptoProvider, ring};

/// Lets TLS by rustls work in a program that has chosen no cryptography for it.
///
/// Drivers ask rustls for that of the process. Where the program did not install
/// one, rustls takes the only one that is built in, and panics where there are two:
/// one dependency's `ring` beside another's `aws-lc-rs`, which no crate of a build
/// can rule out. So before a driver asks, `ring` is installed, unless something
/// else is by then. Call it only where TLS was asked for: a program that installs
/// its own later finds it taken.
pub fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have been quicker.
        let _ = ring::default_provider().install_default();
    }
}
