//! Who may do what with which snippet, as the contract has it, and how to read that.

/// For each kind of caller, what comes of each call to a snippet in each state.
///
/// `view`: it is answered, and counts a view. `seen`: answered, and no view. `done`: done. `shown`, `hidden`: it is in the
/// list, or not. `nothing`: as if there were no such snippet, to the byte. `denied`: PERMISSION_DENIED. `login`: a key is
/// needed. `refused`: the key is no good.
#[rustfmt::skip]
pub const SNIPPETS: &str = "
                      public   unlisted private  expired  burnt    missing
    anonymous full    view     view     nothing  nothing  nothing  nothing
    anonymous basic   seen     seen     nothing  nothing  nothing  nothing
    anonymous list    shown    hidden   hidden   hidden   hidden   hidden
    anonymous mine    login    login    login    login    login    login
    anonymous stats   login    login    login    login    login    login
    anonymous update  login    login    login    login    login    login
    anonymous delete  login    login    login    login    login    login

    owner     full    seen     seen     seen     nothing  nothing  nothing
    owner     basic   seen     seen     seen     nothing  nothing  nothing
    owner     list    shown    hidden   hidden   hidden   hidden   hidden
    owner     mine    shown    shown    shown    hidden   hidden   hidden
    owner     stats   done     done     done     nothing  nothing  nothing
    owner     update  done     done     done     nothing  nothing  nothing
    owner     delete  done     done     done     nothing  nothing  nothing

    other     full    view     view     nothing  nothing  nothing  nothing
    other     basic   seen     seen     nothing  nothing  nothing  nothing
    other     list    shown    hidden   hidden   hidden   hidden   hidden
    other     mine    hidden   hidden   hidden   hidden   hidden   hidden
    other     stats   denied   denied   nothing  nothing  nothing  nothing
    other     update  denied   denied   nothing  nothing  nothing  nothing
    other     delete  denied   denied   nothing  nothing  nothing  nothing

    admin     full    view     view     view     nothing  nothing  nothing
    admin     basic   seen     seen     seen     nothing  nothing  nothing
    admin     list    shown    hidden   hidden   hidden   hidden   hidden
    admin     mine    hidden   hidden   hidden   hidden   hidden   hidden
    admin     stats   done     done     done     nothing  nothing  nothing
    admin     update  denied   denied   denied   nothing  nothing  nothing
    admin     delete  done     done     done     nothing  nothing  nothing

    no_good   full    refused  refused  refused  refused  refused  refused
    no_good   basic   refused  refused  refused  refused  refused  refused
    no_good   list    refused  refused  refused  refused  refused  refused
    no_good   mine    refused  refused  refused  refused  refused  refused
    no_good   stats   refused  refused  refused  refused  refused  refused
    no_good   update  refused  refused  refused  refused  refused  refused
    no_good   delete  refused  refused  refused  refused  refused  refused
";

/// What comes of the calls that are about no snippet, in the same words, for each kind of caller.
#[rustfmt::skip]
pub const OTHERS: &str = "
                   anonymous owner   other   admin   no_good
    create_snippet done      done    done    done    refused
    create_account login     denied  denied  done    refused
    get_account    login     denied  denied  done    refused
    list_accounts  login     denied  denied  done    refused
    update_account login     denied  denied  done    refused
    create_api_key login     denied  denied  done    refused
    list_api_keys  login     denied  denied  done    refused
    revoke_api_key login     denied  denied  done    refused
    get_caller     done      done    done    done    refused
";

/// A cell: the words before it in its line, the word above it, and its own.
pub type Cell<const N: usize> = ([&'static str; N], &'static str, &'static str);

/// The cells of a table whose lines begin with `N` words.
pub fn cells<const N: usize>(table: &'static str) -> Vec<Cell<N>> {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty());
    let columns: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    let mut cells = Vec::new();
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let (names, outcomes) = words.split_at(N);
        assert_eq!(outcomes.len(), columns.len(), "{line}");
        let names: [_; N] = names.try_into().unwrap();
        cells.extend(columns.iter().zip(outcomes).map(|(column, outcome)| (names, *column, *outcome)));
    }
    cells
}
