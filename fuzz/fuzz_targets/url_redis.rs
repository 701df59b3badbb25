#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| anyqueue_fuzz_bodies::run("url_redis", bytes));
