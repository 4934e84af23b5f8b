pub mod kernel;
pub mod collectors;
pub mod top;
pub mod ports;
pub mod tally;
