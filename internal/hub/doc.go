// Package hub fetches models and datasets from the Hugging Face Hub (or any server with its API) into exactly the cache
// that Python's huggingface_hub keeps, so that both share what is there, and uploads folders to it.
//
//	<cache>/models--org--name/refs/main               the commit that a branch was at when last asked
//	<cache>/models--org--name/blobs/<etag>            contents; <etag>.incomplete while they are being fetched
//	<cache>/models--org--name/snapshots/<commit>/…    relative links to blobs, by file name
//	<cache>/.locks/models--org--name/<etag>.lock      held while a blob is written
//
// Interrupted downloads go on where they stopped; sizes and hashes (SHA-256 of large files, git's SHA-1 of small ones)
// are checked before a blob gets its name. Nothing else is ever sent: no telemetry.
package hub
