// The body of every projection, for few rows or for many.
#ifdef GEMM
#import gemm
#else
#import matvec
#endif
