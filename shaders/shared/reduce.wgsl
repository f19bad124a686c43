// Sums over groups of LANES neighbouring threads of a workgroup of 64.
//
// The order is one balanced binary tree over the lanes, nearest neighbours first, so
// that a sum's bits depend on nothing but its terms.

const THREADS: u32 = 64u;
