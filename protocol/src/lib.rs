//! Stratum V2, both roles, without I/O.
//!
//! Bytes go in, messages come out, and the other way round. The crate owns the wire: field types ([`codec`]),
//! frames ([`framing`]), encryption and server authentication ([`noise`]), every message ([`messages`]) and the
//! order in which a connection may see them ([`connection`]). It opens no socket, reads no clock, starts no task
//! and stores nothing; and it does not know what a share is worth or which job a channel should have.
//!
//! References such as "SV2 5.3.13" are to sections of the Stratum V2 specification.
#![forbid(unsafe_code)]

pub mod codec;
pub mod connection;
pub mod framing;
pub mod messages;
pub mod noise;
