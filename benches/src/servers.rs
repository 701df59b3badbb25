//! `scripts/servers`, for what only it can do.

use std::path::Path;
use std::process::Command;

use crate::bare::Failure;

/// What it prints, where it succeeds.
pub(crate) fn servers(args: &[&str]) -> Result<String, Failure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/servers");
    let output = Command::new(script).args(args).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(format!("scripts/servers {args:?}: {error}").into())
        }
    }
}

/// Makes a virtual host of RabbitMQ anew, with nothing in it.
pub(crate) fn fresh_vhost(name: &str) -> Result<(), Failure> {
    let eval = format!(
        r#"V = <<"{name}">>, catch rabbit_vhost:delete(V, V), ok = rabbit_vhost:add(V, V),
           rabbit_auth_backend_internal:set_permissions(
               <<"anyqueue">>, V, <<".*">>, <<".*">>, <<".*">>, V)."#
    );
    servers(&["rabbitmqctl", "eval", &eval]).map(drop)
}

/// Deletes a virtual host with all that is in it.
pub(crate) fn delete_vhost(name: &str) -> Result<(), Failure> {
    servers(&["rabbitmqctl", "delete_vhost", name]).map(drop)
}
