//! [`Script`]: the Lua scripts, each sent by its SHA-1 and in full where the
//! server does not know it (any more).

use std::sync::LazyLock;

use redis::Cmd;

/// A script with what all of them start with.
pub(crate) struct Script {
    text: String,
    sha1: String,
}

impl Script {
    fn new(flags: &str, text: &str) -> Self {
        let text = format!("#!lua{flags}\n{}{text}", include_str!("lua/lib.lua"));
        let sha1 = redis::Script::new(&text).get_hash().to_owned();
        Self { text, sha1 }
    }

    /// The call by SHA-1.
    pub(crate) fn by_sha1(&self, keys: &[String], arguments: &[&[u8]]) -> Cmd {
        call("EVALSHA", &self.sha1, keys, arguments)
    }

    /// The call by its text, which makes the SHA-1 known too.
    pub(crate) fn in_full(&self, keys: &[String], arguments: &[&[u8]]) -> Cmd {
        call("EVAL", &self.text, keys, arguments)
    }
}

fn call(command: &str, script: &str, keys: &[String], arguments: &[&[u8]]) -> Cmd {
    let parts = || {
        keys.iter()
            .map(String::as_bytes)
            .chain(arguments.iter().copied())
    };
    let bytes = parts().map(<[u8]>::len).sum::<usize>() + script.len() + 32;
    let mut call = Cmd::with_capacity(3 + keys.len() + arguments.len(), bytes);
    call.arg(command).arg(script).arg(keys.len());
    for part in parts() {
        call.arg(part);
    }
    call
}

macro_rules! scripts {
    ($($name:ident = $file:literal, $flags:literal;)*) => {$(
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new($flags, include_str!(concat!("lua/", $file, ".lua"))));
    )*};
}

// Without `allow-oom` a script is refused before it starts when memory is
// full; with it, it is never refused midway. What brings jobs in is without.
scripts! {
    ENQUEUE = "enqueue", "";
    ENQUEUE_PLAIN = "enqueue_plain", "";
    CLAIM = "claim", " flags=allow-oom";
    SETTLE = "settle", " flags=allow-oom";
    HEARTBEAT = "heartbeat", " flags=allow-oom";
    PROGRESS = "progress", " flags=allow-oom";
    CANCEL = "cancel", " flags=allow-oom";
    RETRY = "retry", " flags=allow-oom";
    SET_FLOW = "set_flow", " flags=allow-oom";
    MAINTAIN = "maintain", " flags=allow-oom";
    GET = "get", " flags=no-writes";
    LIST = "list", " flags=no-writes";
    NEXT = "next", " flags=no-writes";
    LISTEN = "listen", " flags=allow-oom";
    GIVE_BACK = "give_back", " flags=allow-oom";
}
