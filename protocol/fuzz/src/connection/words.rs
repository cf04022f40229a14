//! What the ends say to each other when they keep to their roles.

use arbitrary::Arbitrary;
use protocol::codec::{B0_32, B0_64K, B0_255, Seq0_64K, Seq0_255, Str0_255, U256};
use protocol::connection::ClientEvent;
use protocol::messages::common::{ChannelEndpointChanged, Reconnect};
use protocol::messages::extensions::WorkerIdentity;
use protocol::messages::mining::*;

use super::super::ends::{Client, Server};

/// What one end says to the other, with the numbers that fill its fields.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Words {
    kind: u8,
    number: u16,
}

impl Words {
    /// A message of a miner. The hash rate is a number, so that messages can be compared.
    pub(super) fn of_client(self) -> ClientMessage {
        let number = u32::from(self.number);
        let (channel_id, sequence_number, job_id, nonce, ntime, version) = (number, 1, 2, 3, 4, 5);
        let extranonce = B0_32::new(&[7; 32][..usize::from(self.number % 33)]).expect("that is at most 32 bytes");
        match self.kind % 6 {
            0 => ClientMessage::SubmitSharesStandard(SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }),
            1 => ClientMessage::SubmitSharesExtended(
                SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce },
                Ok(None),
            ),
            2 => ClientMessage::SubmitSharesExtended(
                SubmitSharesExtended { channel_id, sequence_number, job_id, nonce, ntime, version, extranonce },
                Ok(Some(
                    WorkerIdentity::new(&"w".repeat(usize::from(self.number % 33))).expect("that is at most 32 bytes"),
                )),
            ),
            3 => ClientMessage::CloseChannel(CloseChannel { channel_id, reason_code: self.text() }),
            4 => ClientMessage::UpdateChannel(UpdateChannel {
                channel_id,
                nominal_hash_rate: f32::from(self.number),
                maximum_target: U256::MAX,
            }),
            _ => ClientMessage::SetCustomMiningJob(SetCustomMiningJob {
                channel_id,
                request_id: 1,
                mining_job_token: B0_255::default(),
                version,
                prev_hash: U256::ZERO,
                min_ntime: 2,
                nbits: 3,
                coinbase_tx_version: 2,
                coinbase_prefix: B0_255::default(),
                coinbase_tx_input_nsequence: 4,
                coinbase_tx_outputs: self.bytes(),
                coinbase_tx_locktime: 5,
                merkle_path: Seq0_255::default(),
            }),
        }
    }

    /// An event that a message of a server makes.
    pub(super) fn of_server(self) -> ClientEvent {
        let (channel_id, job_id) = (u32::from(self.number), 1);
        match self.kind % 6 {
            0 => ClientEvent::Message(ServerMessage::NewMiningJob(NewMiningJob {
                channel_id,
                job_id,
                min_ntime: self.number.is_multiple_of(2).then_some(channel_id),
                version: 2,
                merkle_root: U256::MAX,
            })),
            1 => ClientEvent::Message(ServerMessage::SetGroupChannel(SetGroupChannel {
                group_channel_id: channel_id,
                channel_ids: Seq0_64K::new(vec![job_id; usize::from(self.number)]).expect("a U16 counts them"),
            })),
            2 => ClientEvent::Message(ServerMessage::NewExtendedMiningJob(NewExtendedMiningJob {
                channel_id,
                job_id,
                min_ntime: None,
                version: 2,
                version_rolling_allowed: true,
                merkle_path: Seq0_255::new([U256::MAX; 3]).expect("3 are fewer than 255"),
                coinbase_tx_prefix: self.bytes(),
                coinbase_tx_suffix: self.bytes(),
            })),
            3 => {
                ClientEvent::Message(ServerMessage::CloseChannel(CloseChannel { channel_id, reason_code: self.text() }))
            }
            4 => ClientEvent::Reconnect(Reconnect { new_host: self.text(), new_port: self.number }),
            _ => ClientEvent::ChannelEndpointChanged(ChannelEndpointChanged { channel_id }),
        }
    }

    fn text(self) -> Str0_255 {
        Str0_255::from_bytes(&vec![b'x'; usize::from(self.number % 256)]).expect("that is at most 255 bytes")
    }

    fn bytes(self) -> B0_64K {
        B0_64K::new(vec![self.kind; usize::from(self.number)]).expect("a U16 counts them")
    }
}

/// Sends a message of a miner.
pub(super) fn client_sends(client: &mut Client, message: &ClientMessage) -> bool {
    client.send(|connection| match message {
        ClientMessage::OpenStandardMiningChannel(message) => connection.send(message),
        ClientMessage::OpenExtendedMiningChannel(message) => connection.send(message),
        ClientMessage::UpdateChannel(message) => connection.send(message),
        ClientMessage::CloseChannel(message) => connection.send(message),
        ClientMessage::SubmitSharesStandard(message) => connection.send(message),
        ClientMessage::SubmitSharesExtended(message, Ok(Some(worker))) => connection.send_with_worker(message, worker),
        ClientMessage::SubmitSharesExtended(message, _) => connection.send(message),
        ClientMessage::SetCustomMiningJob(message) => connection.send(message),
    })
}

/// Sends one of the messages of [`Words::of_server`].
pub(super) fn server_sends(server: &mut Server, event: &ClientEvent) -> bool {
    match event {
        ClientEvent::Message(ServerMessage::NewMiningJob(message)) => server.send(message),
        ClientEvent::Message(ServerMessage::SetGroupChannel(message)) => server.send(message),
        ClientEvent::Message(ServerMessage::NewExtendedMiningJob(message)) => server.send(message),
        ClientEvent::Message(ServerMessage::CloseChannel(message)) => server.send(message),
        ClientEvent::Reconnect(message) => server.send(message),
        ClientEvent::ChannelEndpointChanged(message) => server.send(message),
        other => unreachable!("{other:?} is not among the words of a server"),
    }
}
