//! Brings letters back.

use secrecy::SecretString;

use super::{
    args::ReplayArgs, counted, error::DeadLettersError, letter::Letter, publisher::Publisher, reader::Reader,
    say, selection::Selection,
};

/// Publishes the letters that are meant, and takes each out of the dead letters once it is safe in the queue. One that is
/// interrupted in between is in both, and counts once by the id of its batch.
pub(super) async fn replay(
    reader: Reader,
    url: &SecretString,
    args: &ReplayArgs,
) -> Result<(), DeadLettersError> {
    let publisher = if args.dry_run {
        None
    } else {
        Some(Publisher::open(url).await.map_err(DeadLettersError::NotConnected)?)
    };
    let replay = Replay {
        reader,
        publisher,
        selection: if args.all { Selection::All } else { Selection::ids(&args.ids) },
        malformed_too: args.malformed,
        left: args.limit.unwrap_or(u64::MAX),
        replayed: 0,
        malformed: Vec::new(),
    };
    replay.run().await
}

struct Replay {
    reader: Reader,
    /// None: nothing is to be changed.
    publisher: Option<Publisher>,
    selection: Selection,
    malformed_too: bool,
    /// How many more may be replayed.
    left: u64,
    replayed: u64,
    /// Those that are left where they are.
    malformed: Vec<String>,
}

impl Replay {
    async fn run(mut self) -> Result<(), DeadLettersError> {
        let done = self.go_through().await;
        let summary = self.summary();
        let Self { reader, publisher, selection, left, malformed, .. } = self;
        let closed = reader.close().await;
        if let Some(publisher) = publisher {
            publisher.close().await;
        }
        say(summary)?;
        done?;
        closed?;
        // Whether the others are there is not known where the limit ended the search.
        if !selection.is_by_id() || left == 0 {
            return Ok(());
        }
        selection.all_seen()?;
        if malformed.is_empty() { Ok(()) } else { Err(DeadLettersError::Malformed(malformed)) }
    }

    async fn go_through(&mut self) -> Result<(), DeadLettersError> {
        while self.left > 0 {
            let letters = self.reader.take(u64::MAX).await?;
            if letters.is_empty() {
                break;
            }
            let meant = self.choose(&letters)?;
            self.bring_back(&meant).await?;
        }
        Ok(())
    }

    /// Those of the letters that are to be replayed.
    fn choose<'a>(&mut self, letters: &'a [Letter]) -> Result<Vec<&'a Letter>, DeadLettersError> {
        let mut chosen = Vec::new();
        for letter in letters {
            if self.left == 0 {
                break;
            }
            if !self.selection.takes(letter) {
                continue;
            }
            if let (Err(malformed), false) = (letter.verdict(), self.malformed_too) {
                say(format_args!("{}  left where it is: {malformed}", letter.id))?;
                self.malformed.push(letter.id.clone());
                continue;
            }
            self.left -= 1;
            chosen.push(letter);
        }
        Ok(chosen)
    }

    async fn bring_back(&mut self, letters: &[&Letter]) -> Result<(), DeadLettersError> {
        if let Some(publisher) = &self.publisher {
            publisher.publish(letters).await.map_err(DeadLettersError::NotReplayed)?;
        }
        for letter in letters {
            if self.publisher.is_some() {
                self.reader.settle(letter).await?;
            }
            self.replayed += 1;
            let what = if self.publisher.is_some() { "replayed" } else { "would be replayed" };
            say(format_args!("{}  {what}", letter.id))?;
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let what = if self.publisher.is_some() { "replayed" } else { "would be replayed" };
        let (letters, left) = (counted(self.replayed, "dead letter"), self.malformed.len());
        format!("{letters} {what}, {left} malformed left where they are")
    }
}
