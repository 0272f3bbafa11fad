//! What a bench ran on.

/// The processor, its cores, and the vector instructions it has and the build uses.
#[must_use]
pub fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field =
        |name: &str| info.lines().find(|line| line.starts_with(name)).and_then(|l| l.split(": ").nth(1));
    let model = field("model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // What it is called on x86-64, and on ARM.
    let flags: Vec<&str> = field("flags").or(field("Features")).unwrap_or("").split(' ').collect();
    let vector = ["sse4_2", "avx2", "avx512f", "avx512bw", "avx512vbmi", "asimd"];
    let has: Vec<&str> = vector.into_iter().filter(|name| flags.contains(name)).collect();
    format!(
        "{model}, {cores} cores, {}; has {}; built for {}",
        std::env::consts::ARCH,
        if has.is_empty() { "no vector instructions known here".into() } else { has.join(", ") },
        built_for(),
    )
}

/// What the compiler was allowed to use everywhere; libraries choose more at run time.
fn built_for() -> &'static str {
    if cfg!(target_feature = "avx512f") {
        "AVX-512"
    } else if cfg!(target_feature = "avx2") {
        "AVX2"
    } else if cfg!(target_feature = "sse2") {
        "SSE2 (more is chosen at run time)"
    } else if cfg!(target_feature = "neon") {
        "NEON"
    } else {
        "the least of its architecture"
    }
}
