//! The order in which the functions of the program are first called, as a linker script.
//!
//! `order PROGRAM SCRIPT OUTPUT`. PROGRAM is a release with its symbols. SCRIPT runs containers
//! with it, as `$LOCULE`. Each process that executes PROGRAM gets a breakpoint at every function,
//! and a function is noted when its breakpoint is met for the first time. The names in OUTPUT have
//! wildcards where they depend on the compiler and its flags, so the list stays good for other
//! builds. x86_64 only, since breakpoints are; the list serves every processor.

#[cfg(target_arch = "x86_64")]
mod names;
#[cfg(target_arch = "x86_64")]
mod trace;

#[cfg(target_arch = "x86_64")]
fn main() {
    use std::{env, fs};

    let args: Vec<String> = env::args().skip(1).collect();
    let [program, script, output] = args.as_slice() else {
        panic!("order PROGRAM SCRIPT OUTPUT");
    };
    let program = fs::canonicalize(program).expect("PROGRAM");
    let functions = names::functions(&program);
    let order = trace::first_calls(&program, script.as_ref(), functions.keys().copied());
    let called = order.iter().flat_map(|address| &functions[address]);
    let text = names::linker_script(called.map(String::as_str));
    fs::write(output, text).expect("OUTPUT");
    println!("{} of {} functions", order.len(), functions.len());
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    panic!("order: x86_64 only");
}
