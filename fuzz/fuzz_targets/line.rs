#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| twzrd_fuzz::line(data));
