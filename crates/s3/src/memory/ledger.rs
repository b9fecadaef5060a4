//! Who has how much of a memory that all share, and who is next.

use std::collections::{HashMap, VecDeque};

use mainstay_types::InstanceId;

/// How many times what is left an account may have. Alone it gets three quarters of all, two get three sevenths each, and
/// something is always left for whoever comes (A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for
/// shared-memory packet switches", 1998).
const TIMES_OF_WHAT_IS_LEFT: u64 = 3;

/// What accounts have and wait for, in pages. It waits for nothing itself.
#[derive(Debug)]
pub struct Ledger {
    free: u32,
    accounts: HashMap<InstanceId, Account>,
    tickets: u64,
}

/// Names a request for pages, as long as it waits or has them. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Debug, Default)]
struct Account {
    has: u32,
    waiting: VecDeque<(Ticket, u32)>,
}

impl Ledger {
    pub fn new(pages: u32) -> Self {
        Self { free: pages, accounts: HashMap::new(), tickets: 0 }
    }

    /// Queues a request. Those of one account are granted in their order.
    pub fn ask(&mut self, account: &InstanceId, pages: u32) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.accounts.entry(account.clone()).or_default().waiting.push_back((ticket, pages));
        ticket
    }

    /// Grants the next request, where it can be granted now: that of the account that has least. Nobody who asks for less
    /// overtakes it, so that large requests are not starved by small ones.
    pub fn grant(&mut self) -> Option<Ticket> {
        let next = |account: &&mut Account| Some((account.has, account.waiting.front()?.0));
        let waiting = self.accounts.values_mut().filter(|account| !account.waiting.is_empty());
        let account = waiting.min_by_key(|account| next(account))?;
        let (ticket, pages) = *account.waiting.front()?;
        let left = self.free.checked_sub(pages)?;
        let share = u64::from(left) * TIMES_OF_WHAT_IS_LEFT;
        // Who has nothing gets what there is.
        if account.has > 0 && u64::from(account.has + pages) > share {
            return None;
        }
        account.waiting.pop_front();
        account.has += pages;
        self.free = left;
        Some(ticket)
    }

    /// Ends a request: it waits no longer, or its pages come back.
    pub fn end(&mut self, account: &InstanceId, ticket: Ticket, pages: u32) {
        let Some(known) = self.accounts.get_mut(account) else { return };
        match known.waiting.iter().position(|(waiting, _)| *waiting == ticket) {
            Some(place) => drop(known.waiting.remove(place)),
            None => {
                known.has -= pages;
                self.free += pages;
            }
        }
        if known.has == 0 && known.waiting.is_empty() {
            self.accounts.remove(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::InstanceId;

    use super::Ledger;

    fn account(number: u64) -> InstanceId {
        InstanceId::from_random(number)
    }

    /// How many of some equal requests an account is granted.
    fn granted(ledger: &mut Ledger, account: &InstanceId, pages: u32, times: usize) -> usize {
        for _ in 0..times {
            ledger.ask(account, pages);
        }
        std::iter::from_fn(|| ledger.grant()).count()
    }

    #[test]
    fn one_account_leaves_something_for_others() {
        let mut ledger = Ledger::new(64);
        assert_eq!(granted(&mut ledger, &account(1), 2, 100), 24);
        assert_eq!(granted(&mut ledger, &account(2), 2, 100), 6);
        assert_eq!(granted(&mut ledger, &account(3), 2, 100), 1, "the share is smaller, and not nothing");
    }

    #[test]
    fn what_comes_back_goes_to_who_has_least_and_first_come() {
        let mut ledger = Ledger::new(8);
        let (one, two) = (account(1), account(2));
        let first = ledger.ask(&one, 6);
        let second = ledger.ask(&one, 2);
        assert_eq!((ledger.grant(), ledger.grant()), (Some(first), None));
        // The large request of who has nothing is not overtaken by small ones.
        let large = ledger.ask(&two, 4);
        assert_eq!(ledger.grant(), None);
        ledger.end(&one, first, 6);
        let small = ledger.ask(&one, 1);
        assert_eq!([ledger.grant(), ledger.grant(), ledger.grant()], [Some(second), Some(large), Some(small)]);
    }

    #[test]
    fn who_gives_up_waits_no_longer_and_nothing_is_lost() {
        let mut ledger = Ledger::new(4);
        let one = account(1);
        let all = ledger.ask(&one, 4);
        assert_eq!(ledger.grant(), Some(all));
        let waiting = ledger.ask(&one, 4);
        assert_eq!(ledger.grant(), None);
        ledger.end(&one, waiting, 4);
        ledger.end(&one, all, 4);
        assert_eq!((ledger.free, ledger.accounts.len(), ledger.grant()), (4, 0, None));
    }
}
