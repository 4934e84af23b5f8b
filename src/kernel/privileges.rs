//! What the process may do beyond its work, given up before its second thread starts: each
//! thread has its own (capabilities(7), landlock(7)).
//!
//! * No program that it could ever start has more than it (`no_new_privs`, prctl(2)).
//! * Capabilities that the configuration does not ask for are dropped, out of the bounding
//!   set as well.
//! * Landlock, where the kernel has it: it writes, makes, removes and executes no file, and
//!   makes no TCP connection but to the port of the probe ([`super::port_probe`]). Reading,
//!   UDP and unix sockets stay free. Not where other namespaces are observed: who is confined may not look at the
//!   namespaces of other processes (`hook_ptrace_access_check`, security/landlock/task.c).

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use super::port_probe::PORT;

/// What the work needs that not every process may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// Bind ports that not everybody may (`ip_unprivileged_port_start`).
    pub low_ports: bool,
    /// Enter the network namespaces of others, which are found by name and by process.
    pub namespaces: bool,
}

/// How much of Landlock there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    Whole,
    /// An older kernel knows some of the rights.
    Part,
    /// The kernel has none, or it stands in the way of the work.
    Off,
}

/// Why something could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error("cannot drop capabilities")]
    Capabilities(#[source] io::Error),
    #[error("cannot confine with Landlock")]
    Landlock(#[from] RulesetError),
}

impl Needs {
    fn capabilities(self) -> CapabilitySet {
        // Events of conntrack come over ctnetlink where /proc has no file of them.
        let mut needed = CapabilitySet::NET_ADMIN;
        if self.low_ports {
            needed |= CapabilitySet::NET_BIND_SERVICE;
        }
        if self.namespaces {
            needed |= CapabilitySet::SYS_ADMIN
                | CapabilitySet::SYS_PTRACE
                | CapabilitySet::DAC_READ_SEARCH;
        }
        needed
    }
}

/// Gives up what is not needed, for the calling thread and those that it starts.
///
/// # Errors
/// When the kernel refuses what it grants everybody: something filters the calls.
pub fn give_up(needs: Needs) -> Result<Landlock, PrivilegeError> {
    // One may be refused and the other not.
    let dropped = drop_capabilities(needs.capabilities());
    let confined = match needs.namespaces {
        true => Landlock::Off,
        false => confine()?,
    };
    dropped.map_err(PrivilegeError::Capabilities)?;
    Ok(confined)
}

fn drop_capabilities(needed: CapabilitySet) -> io::Result<()> {
    set_no_new_privs(true)?;
    let has = capabilities(None)?;
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            // Numbers beyond those that the kernel knows are refused.
            if !needed.contains(one) {
                let _ = remove_capability_from_bounding_set(one);
            }
        }
    }
    let kept = has.permitted & needed;
    // Filters of system calls may refuse capset(2): it is not called in vain.
    if kept != has.permitted {
        set_capabilities(
            None,
            CapabilitySets {
                effective: has.effective & kept,
                permitted: kept,
                inheritable: has.inheritable & kept,
            },
        )?;
    }
    Ok(())
}

fn confine() -> Result<Landlock, RulesetError> {
    // Rights that this kernel does not know are left out.
    let newest = ABI::V7;
    let confined = Ruleset::default()
        .handle_access(
            AccessFs::from_all(newest) & !AccessFs::from_read(newest) | AccessFs::Execute,
        )?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::Signal)?
        .create()?
        .add_rule(NetPort::new(PORT, AccessNet::ConnectTcp))?
        .restrict_self()?;
    Ok(match confined.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Whole,
        RulesetStatus::PartiallyEnforced => Landlock::Part,
        RulesetStatus::NotEnforced => Landlock::Off,
    })
}
