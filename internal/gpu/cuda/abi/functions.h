/* The functions of libcuda that are called, with the names that the library exports. A list, so that declarations and
 * trampolines (../trampolines.c) come from one place. */
#ifndef MLTRAIN_CUDA_FUNCTIONS_H
#define MLTRAIN_CUDA_FUNCTIONS_H

#define CUDA_FUNCTIONS(F) \
	F(cuArray3DCreate_v2, (CUarray *, const CUDA_ARRAY3D_DESCRIPTOR *)) \
	F(cuArray3DGetDescriptor_v2, (CUDA_ARRAY3D_DESCRIPTOR *, CUarray)) \
	F(cuArrayCreate_v2, (CUarray *, const CUDA_ARRAY_DESCRIPTOR *)) \
	F(cuArrayDestroy, (CUarray)) \
	F(cuArrayGetDescriptor_v2, (CUDA_ARRAY_DESCRIPTOR *, CUarray)) \
	F(cuCtxCreate_v2, (CUcontext *, unsigned int, CUdevice)) \
	F(cuCtxDestroy_v2, (CUcontext)) \
	F(cuCtxDisablePeerAccess, (CUcontext)) \
	F(cuCtxEnablePeerAccess, (CUcontext, unsigned int)) \
	F(cuCtxGetApiVersion, (CUcontext, unsigned int *)) \
	F(cuCtxGetCacheConfig, (CUfunc_cache *)) \
	F(cuCtxGetCurrent, (CUcontext *)) \
	F(cuCtxGetDevice, (CUdevice *)) \
	F(cuCtxGetFlags, (unsigned int *)) \
	F(cuCtxGetLimit, (size_t *, CUlimit)) \
	F(cuCtxGetSharedMemConfig, (CUsharedconfig *)) \
	F(cuCtxGetStreamPriorityRange, (int *, int *)) \
	F(cuCtxPopCurrent_v2, (CUcontext *)) \
	F(cuCtxPushCurrent_v2, (CUcontext)) \
	F(cuCtxResetPersistingL2Cache, (void)) \
	F(cuCtxSetCacheConfig, (CUfunc_cache)) \
	F(cuCtxSetCurrent, (CUcontext)) \
	F(cuCtxSetLimit, (CUlimit, size_t)) \
	F(cuCtxSetSharedMemConfig, (CUsharedconfig)) \
	F(cuCtxSynchronize, (void)) \
	F(cuDeviceCanAccessPeer, (int *, CUdevice, CUdevice)) \
	F(cuDeviceGet, (CUdevice *, int)) \
	F(cuDeviceGetAttribute, (int *, CUdevice_attribute, CUdevice)) \
	F(cuDeviceGetCount, (int *)) \
	F(cuDeviceGetName, (char *, int, CUdevice)) \
	F(cuDeviceGetP2PAttribute, (int *, CUdevice_P2PAttribute, CUdevice, CUdevice)) \
	F(cuDeviceGetUuid, (CUuuid *, CUdevice)) \
	F(cuDevicePrimaryCtxGetState, (CUdevice, unsigned int *, int *)) \
	F(cuDevicePrimaryCtxRelease_v2, (CUdevice)) \
	F(cuDevicePrimaryCtxReset_v2, (CUdevice)) \
	F(cuDevicePrimaryCtxRetain, (CUcontext *, CUdevice)) \
	F(cuDevicePrimaryCtxSetFlags_v2, (CUdevice, unsigned int)) \
	F(cuDeviceTotalMem_v2, (size_t *, CUdevice)) \
	F(cuDriverGetVersion, (int *)) \
	F(cuEventCreate, (CUevent *, unsigned int)) \
	F(cuEventDestroy_v2, (CUevent)) \
	F(cuEventElapsedTime, (float *, CUevent, CUevent)) \
	F(cuEventQuery, (CUevent)) \
	F(cuEventRecord, (CUevent, CUstream)) \
	F(cuEventSynchronize, (CUevent)) \
	F(cuFuncGetAttribute, (int *, CUfunction_attribute, CUfunction)) \
	F(cuFuncSetAttribute, (CUfunction, CUfunction_attribute, int)) \
	F(cuFuncSetCacheConfig, (CUfunction, CUfunc_cache)) \
	F(cuFuncSetSharedMemConfig, (CUfunction, CUsharedconfig)) \
	F(cuGetErrorName, (CUresult, const char **)) \
	F(cuGetErrorString, (CUresult, const char **)) \
	F(cuGraphAddChildGraphNode, (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, CUgraph)) \
	F(cuGraphAddDependencies, (CUgraph, const CUgraphNode *, const CUgraphNode *, size_t)) \
	F(cuGraphAddEmptyNode, (CUgraphNode *, CUgraph, const CUgraphNode *, size_t)) \
	F(cuGraphAddHostNode, (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_HOST_NODE_PARAMS *)) \
	F(cuGraphAddKernelNode, (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_KERNEL_NODE_PARAMS *)) \
	F(cuGraphAddMemcpyNode, (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_MEMCPY3D *, CUcontext)) \
	F(cuGraphAddMemsetNode, (CUgraphNode *, CUgraph, const CUgraphNode *, size_t, const CUDA_MEMSET_NODE_PARAMS *, CUcontext)) \
	F(cuGraphClone, (CUgraph *, CUgraph)) \
	F(cuGraphCreate, (CUgraph *, unsigned int)) \
	F(cuGraphDestroy, (CUgraph)) \
	F(cuGraphDestroyNode, (CUgraphNode)) \
	F(cuGraphExecDestroy, (CUgraphExec)) \
	F(cuGraphGetEdges, (CUgraph, CUgraphNode *, CUgraphNode *, size_t *)) \
	F(cuLaunchKernel, (CUfunction, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, CUstream, void **, void **)) \
	F(cuLinkAddData_v2, (CUlinkState, CUjitInputType, void *, size_t, const char *, unsigned int, CUjit_option *, void **)) \
	F(cuLinkAddFile_v2, (CUlinkState, CUjitInputType, const char *, unsigned int, CUjit_option *, void **)) \
	F(cuLinkComplete, (CUlinkState, void **, size_t *)) \
	F(cuLinkCreate_v2, (unsigned int, CUjit_option *, void **, CUlinkState *)) \
	F(cuLinkDestroy, (CUlinkState)) \
	F(cuMemAdvise, (CUdeviceptr, size_t, CUmem_advise, CUdevice)) \
	F(cuMemAllocManaged, (CUdeviceptr *, size_t, unsigned int)) \
	F(cuMemAllocPitch_v2, (CUdeviceptr *, size_t *, size_t, size_t, unsigned int)) \
	F(cuMemAlloc_v2, (CUdeviceptr *, size_t)) \
	F(cuMemFreeHost, (void *)) \
	F(cuMemFree_v2, (CUdeviceptr)) \
	F(cuMemGetAddressRange_v2, (CUdeviceptr *, size_t *, CUdeviceptr)) \
	F(cuMemGetInfo_v2, (size_t *, size_t *)) \
	F(cuMemHostAlloc, (void **, size_t, unsigned int)) \
	F(cuMemPrefetchAsync, (CUdeviceptr, size_t, CUdevice, CUstream)) \
	F(cuMemcpy, (CUdeviceptr, CUdeviceptr, size_t)) \
	F(cuMemcpy2DAsync_v2, (const CUDA_MEMCPY2D *, CUstream)) \
	F(cuMemcpy2DUnaligned_v2, (const CUDA_MEMCPY2D *)) \
	F(cuMemcpy2D_v2, (const CUDA_MEMCPY2D *)) \
	F(cuMemcpy3DAsync_v2, (const CUDA_MEMCPY3D *, CUstream)) \
	F(cuMemcpy3DPeer, (const CUDA_MEMCPY3D_PEER *)) \
	F(cuMemcpy3DPeerAsync, (const CUDA_MEMCPY3D_PEER *, CUstream)) \
	F(cuMemcpy3D_v2, (const CUDA_MEMCPY3D *)) \
	F(cuMemcpyAsync, (CUdeviceptr, CUdeviceptr, size_t, CUstream)) \
	F(cuMemcpyAtoA_v2, (CUarray, size_t, CUarray, size_t, size_t)) \
	F(cuMemcpyAtoD_v2, (CUdeviceptr, CUarray, size_t, size_t)) \
	F(cuMemcpyAtoHAsync_v2, (void *, CUarray, size_t, size_t, CUstream)) \
	F(cuMemcpyAtoH_v2, (void *, CUarray, size_t, size_t)) \
	F(cuMemcpyDtoA_v2, (CUarray, size_t, CUdeviceptr, size_t)) \
	F(cuMemcpyDtoDAsync_v2, (CUdeviceptr, CUdeviceptr, size_t, CUstream)) \
	F(cuMemcpyDtoD_v2, (CUdeviceptr, CUdeviceptr, size_t)) \
	F(cuMemcpyDtoHAsync_v2, (void *, CUdeviceptr, size_t, CUstream)) \
	F(cuMemcpyDtoH_v2, (void *, CUdeviceptr, size_t)) \
	F(cuMemcpyHtoAAsync_v2, (CUarray, size_t, const void *, size_t, CUstream)) \
	F(cuMemcpyHtoA_v2, (CUarray, size_t, const void *, size_t)) \
	F(cuMemcpyHtoDAsync_v2, (CUdeviceptr, const void *, size_t, CUstream)) \
	F(cuMemcpyHtoD_v2, (CUdeviceptr, const void *, size_t)) \
	F(cuMemcpyPeer, (CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t)) \
	F(cuMemcpyPeerAsync, (CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, size_t, CUstream)) \
	F(cuMemsetD16Async, (CUdeviceptr, unsigned short, size_t, CUstream)) \
	F(cuMemsetD16_v2, (CUdeviceptr, unsigned short, size_t)) \
	F(cuMemsetD2D16Async, (CUdeviceptr, size_t, unsigned short, size_t, size_t, CUstream)) \
	F(cuMemsetD2D16_v2, (CUdeviceptr, size_t, unsigned short, size_t, size_t)) \
	F(cuMemsetD2D32Async, (CUdeviceptr, size_t, unsigned int, size_t, size_t, CUstream)) \
	F(cuMemsetD2D32_v2, (CUdeviceptr, size_t, unsigned int, size_t, size_t)) \
	F(cuMemsetD2D8Async, (CUdeviceptr, size_t, unsigned char, size_t, size_t, CUstream)) \
	F(cuMemsetD2D8_v2, (CUdeviceptr, size_t, unsigned char, size_t, size_t)) \
	F(cuMemsetD32Async, (CUdeviceptr, unsigned int, size_t, CUstream)) \
	F(cuMemsetD32_v2, (CUdeviceptr, unsigned int, size_t)) \
	F(cuMemsetD8Async, (CUdeviceptr, unsigned char, size_t, CUstream)) \
	F(cuMemsetD8_v2, (CUdeviceptr, unsigned char, size_t)) \
	F(cuModuleGetFunction, (CUfunction *, CUmodule, const char *)) \
	F(cuModuleGetGlobal_v2, (CUdeviceptr *, size_t *, CUmodule, const char *)) \
	F(cuModuleGetSurfRef, (CUsurfref *, CUmodule, const char *)) \
	F(cuModuleGetTexRef, (CUtexref *, CUmodule, const char *)) \
	F(cuModuleLoad, (CUmodule *, const char *)) \
	F(cuModuleLoadData, (CUmodule *, const void *)) \
	F(cuModuleLoadDataEx, (CUmodule *, const void *, unsigned int, CUjit_option *, void **)) \
	F(cuModuleLoadFatBinary, (CUmodule *, const void *)) \
	F(cuModuleUnload, (CUmodule)) \
	F(cuOccupancyMaxActiveBlocksPerMultiprocessor, (int *, CUfunction, int, size_t)) \
	F(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags, (int *, CUfunction, int, size_t, unsigned int)) \
	F(cuPointerGetAttribute, (void *, CUpointer_attribute, CUdeviceptr)) \
	F(cuPointerSetAttribute, (const void *, CUpointer_attribute, CUdeviceptr)) \
	F(cuStreamAttachMemAsync, (CUstream, CUdeviceptr, size_t, unsigned int)) \
	F(cuStreamCreate, (CUstream *, unsigned int)) \
	F(cuStreamCreateWithPriority, (CUstream *, unsigned int, int)) \
	F(cuStreamDestroy_v2, (CUstream)) \
	F(cuStreamGetFlags, (CUstream, unsigned int *)) \
	F(cuStreamGetPriority, (CUstream, int *)) \
	F(cuStreamQuery, (CUstream)) \
	F(cuStreamSynchronize, (CUstream)) \
	F(cuStreamWaitEvent, (CUstream, CUevent, unsigned int)) \
	F(cuStreamWaitValue32, (CUstream, CUdeviceptr, cuuint32_t, unsigned int)) \
	F(cuStreamWriteValue32, (CUstream, CUdeviceptr, cuuint32_t, unsigned int)) \
	F(cuSurfRefGetArray, (CUarray *, CUsurfref)) \
	F(cuSurfRefSetArray, (CUsurfref, CUarray, unsigned int)) \
	F(cuTexRefGetAddressMode, (CUaddress_mode *, CUtexref, int)) \
	F(cuTexRefGetAddress_v2, (CUdeviceptr *, CUtexref)) \
	F(cuTexRefGetArray, (CUarray *, CUtexref)) \
	F(cuTexRefGetBorderColor, (float *, CUtexref)) \
	F(cuTexRefGetFilterMode, (CUfilter_mode *, CUtexref)) \
	F(cuTexRefGetFlags, (unsigned int *, CUtexref)) \
	F(cuTexRefGetFormat, (CUarray_format *, int *, CUtexref)) \
	F(cuTexRefGetMaxAnisotropy, (int *, CUtexref)) \
	F(cuTexRefSetAddress2D_v3, (CUtexref, const CUDA_ARRAY_DESCRIPTOR *, CUdeviceptr, size_t)) \
	F(cuTexRefSetAddressMode, (CUtexref, int, CUaddress_mode)) \
	F(cuTexRefSetAddress_v2, (size_t *, CUtexref, CUdeviceptr, size_t)) \
	F(cuTexRefSetArray, (CUtexref, CUarray, unsigned int)) \
	F(cuTexRefSetBorderColor, (CUtexref, float *)) \
	F(cuTexRefSetFilterMode, (CUtexref, CUfilter_mode)) \
	F(cuTexRefSetFlags, (CUtexref, unsigned int)) \
	F(cuTexRefSetFormat, (CUtexref, CUarray_format, int)) \
	F(cuTexRefSetMaxAnisotropy, (CUtexref, unsigned int)) \
	F(cuTexRefSetMipmapFilterMode, (CUtexref, CUfilter_mode)) \
	F(cuTexRefSetMipmapLevelBias, (CUtexref, float)) \
	F(cuTexRefSetMipmapLevelClamp, (CUtexref, float, float))

#define DECLARE(name, args) CUresult name args;
CUDA_FUNCTIONS(DECLARE)
#undef DECLARE
CUresult cuInit(unsigned int);

/* The names by which programs call those that were revised. */
#define cuArray3DCreate cuArray3DCreate_v2
#define cuArray3DGetDescriptor cuArray3DGetDescriptor_v2
#define cuArrayCreate cuArrayCreate_v2
#define cuArrayGetDescriptor cuArrayGetDescriptor_v2
#define cuCtxCreate cuCtxCreate_v2
#define cuCtxDestroy cuCtxDestroy_v2
#define cuCtxPopCurrent cuCtxPopCurrent_v2
#define cuCtxPushCurrent cuCtxPushCurrent_v2
#define cuDevicePrimaryCtxRelease cuDevicePrimaryCtxRelease_v2
#define cuDevicePrimaryCtxReset cuDevicePrimaryCtxReset_v2
#define cuDevicePrimaryCtxSetFlags cuDevicePrimaryCtxSetFlags_v2
#define cuDeviceTotalMem cuDeviceTotalMem_v2
#define cuEventDestroy cuEventDestroy_v2
#define cuLinkAddData cuLinkAddData_v2
#define cuLinkAddFile cuLinkAddFile_v2
#define cuLinkCreate cuLinkCreate_v2
#define cuMemAllocPitch cuMemAllocPitch_v2
#define cuMemAlloc cuMemAlloc_v2
#define cuMemFree cuMemFree_v2
#define cuMemGetAddressRange cuMemGetAddressRange_v2
#define cuMemGetInfo cuMemGetInfo_v2
#define cuMemcpy2DAsync cuMemcpy2DAsync_v2
#define cuMemcpy2DUnaligned cuMemcpy2DUnaligned_v2
#define cuMemcpy2D cuMemcpy2D_v2
#define cuMemcpy3DAsync cuMemcpy3DAsync_v2
#define cuMemcpy3D cuMemcpy3D_v2
#define cuMemcpyAtoA cuMemcpyAtoA_v2
#define cuMemcpyAtoD cuMemcpyAtoD_v2
#define cuMemcpyAtoHAsync cuMemcpyAtoHAsync_v2
#define cuMemcpyAtoH cuMemcpyAtoH_v2
#define cuMemcpyDtoA cuMemcpyDtoA_v2
#define cuMemcpyDtoDAsync cuMemcpyDtoDAsync_v2
#define cuMemcpyDtoD cuMemcpyDtoD_v2
#define cuMemcpyDtoHAsync cuMemcpyDtoHAsync_v2
#define cuMemcpyDtoH cuMemcpyDtoH_v2
#define cuMemcpyHtoAAsync cuMemcpyHtoAAsync_v2
#define cuMemcpyHtoA cuMemcpyHtoA_v2
#define cuMemcpyHtoDAsync cuMemcpyHtoDAsync_v2
#define cuMemcpyHtoD cuMemcpyHtoD_v2
#define cuMemsetD16 cuMemsetD16_v2
#define cuMemsetD2D16 cuMemsetD2D16_v2
#define cuMemsetD2D32 cuMemsetD2D32_v2
#define cuMemsetD2D8 cuMemsetD2D8_v2
#define cuMemsetD32 cuMemsetD32_v2
#define cuMemsetD8 cuMemsetD8_v2
#define cuModuleGetGlobal cuModuleGetGlobal_v2
#define cuStreamDestroy cuStreamDestroy_v2
#define cuTexRefGetAddress cuTexRefGetAddress_v2
#define cuTexRefSetAddress2D cuTexRefSetAddress2D_v3
#define cuTexRefSetAddress cuTexRefSetAddress_v2

#endif
