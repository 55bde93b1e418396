//! Whether a file system tells of all that happens in it.

use std::path::Path;

/// Whether events can be believed: the directory is on a file system of this
/// host, where all writes go through this kernel.
///
/// Network file systems, shared folders of virtual machines and FUSE change
/// behind the kernel's back; of an overlay the lower layer does. Whatever is
/// not known is not believed.
pub(super) fn is_believed(directory: &Path) -> bool {
    // The width of the number differs between systems; 32 bits hold all that
    // are known.
    rustix::fs::statfs(directory).is_ok_and(|status| is_local(status.f_type as u32))
}

/// Whether this magic number, which is one that statfs(2) documents, is that of
/// a local file system.
const fn is_local(magic: u32) -> bool {
    matches!(
        magic,
        0xef53 // ext2, ext3, ext4
        | 0x5846_5342 // XFS
        | 0x9123_683e // Btrfs
        | 0x0102_1994 // tmpfs
        | 0xf2f5_2010 // F2FS
        | 0x2fc1_2fc1 // ZFS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_behind_the_kernel_is_not_believed() {
        assert!(is_local(0xef53));
        for other in [0x6969, 0x517b, 0xff53_4d42, 0x6573_5546, 0x0102_1997, 0x794c_7630]
        {
            assert!(!is_local(other), "{other:x}");
        }
        assert!(!is_believed(Path::new("/nowhere/at/all")));
    }
}
