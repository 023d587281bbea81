//! Draws what each algorithm makes of the same calls, as an SVG on standard output: the picture of `docs/algorithms.md`.

mod calls;
mod limits;
mod picture;
mod run;
mod style;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", picture::Picture::draw(&limits::limits()?));
    Ok(())
}
