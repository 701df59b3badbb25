//! What is read of a server's notifications, for the fuzz targets. Rows come
//! as the driver's own type, which only a server's answer makes.

use crate::wake::Hub;

/// Hears a notification.
pub fn hear(payload: &str) {
    Hub::new().hear(payload);
}
