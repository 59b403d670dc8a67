"""The table of problems with stores, buckets and disks, and their remedies.

A row is found by what stores and clients say: codes of S3, GCS and Azure, names of errno, names of clients'
exceptions. `docs/errors.md` has a heading for each, and a test provokes each and does what its remedy says.
"""

from __future__ import annotations

from cpr.errors import ResourceNotFoundError
from cpr.io.store_problem import StoreProblem
from cpr.io.timeouts import VARIABLE

__all__ = ["MISSING", "OTHER", "PROBLEMS"]


_AGAIN = "then try again"

PROBLEMS = (
    # What is configured.
    StoreProblem(
        "endpoint-without-scheme",
        ("EndpointWithoutScheme",),
        "the endpoint has no scheme",
        "http:// or https:// and a host",
        "write http:// (or https://, where the store speaks TLS) before the value of {endpoint}",
    ),
    StoreProblem(
        "missing-profile",
        ("ProfileNotFound",),
        "there is no such profile in the AWS configuration",
        "a profile of ~/.aws/config or ~/.aws/credentials",
        "correct AWS_PROFILE, or unset AWS_PROFILE to use the other variables",
    ),
    StoreProblem(
        "no-credentials",
        (
            *("NoCredentialsError", "PartialCredentialsError", "AuthenticationException", "401"),
            *("ClientAuthenticationError", "NoAuthenticationInformation"),
        ),
        "there are no usable credentials",
        "credentials in the environment or in fsspec's configuration",
        "for S3 set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for GCS set "
        "GOOGLE_APPLICATION_CREDENTIALS; for Azure set AZURE_STORAGE_CONNECTION_STRING, or log in (az "
        "login); for others fsspec's configuration (FSSPEC_SFTP_PASSWORD, say)",
    ),
    StoreProblem(
        "missing-credentials-file",
        ("CredentialsFile",),
        "the file that GOOGLE_APPLICATION_CREDENTIALS names cannot be read",
        "a JSON file of credentials",
        "correct GOOGLE_APPLICATION_CREDENTIALS, put the file where it says, or unset it",
    ),
    StoreProblem(
        "unknown-key",
        ("InvalidAccessKeyId", "InvalidClientTokenId"),
        "the store does not know this key",
        "a key of this store",
        "set AWS_ACCESS_KEY_ID (or AWS_PROFILE) to a key of this account and server; this may be another's",
    ),
    StoreProblem(
        "wrong-secret",
        ("SignatureDoesNotMatch", "AuthenticationFailed"),
        "the secret key does not fit the key",
        "the secret of this key",
        "set AWS_SECRET_ACCESS_KEY (for Azure the key in AZURE_STORAGE_CONNECTION_STRING) "
        "anew: copying often adds a space or loses a character; a proxy that "
        "rewrites requests does this too",
    ),
    StoreProblem(
        "no-account",
        ("NoAccount", "ConnectionString"),
        "no account of Azure's is named that can be used",
        "a connection string, or the name of an account",
        "set AZURE_STORAGE_CONNECTION_STRING as the portal shows it (AccountName=...;AccountKey=...), or "
        "AZURE_STORAGE_ACCOUNT_NAME",
    ),
    StoreProblem(
        "other-account",
        ("OtherAccount",),
        "the URL names another account than the one that is set here",
        "one account",
        "correct the URL, or set AZURE_STORAGE_CONNECTION_STRING to the account of the URL",
    ),
    StoreProblem(
        "expired-session",
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RefreshError"),
        "the session has expired",
        "credentials that are still valid",
        "log in again (aws sso login, say), and set AWS_SESSION_TOKEN with its key and secret anew",
    ),
    StoreProblem(
        "wrong-session-token",
        ("InvalidToken", "InvalidTokenId"),
        "the session token does not fit the key",
        "the token that came with the key, or none",
        "unset AWS_SESSION_TOKEN, or log in again",
    ),
    StoreProblem(
        "wrong-clock",
        ("RequestTimeTooSkewed",),
        "the clocks of this machine and of the store differ by more than the store accepts",
        "clocks that agree",
        "set this machine's clock by NTP (timedatectl set-ntp true), or the server's",
    ),
    StoreProblem(
        "wrong-region",
        (
            *("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
            *("InvalidRegionError", "301"),
        ),
        "requests are for another region than the bucket's",
        "the region of the bucket",
        "set AWS_REGION and AWS_DEFAULT_REGION to the bucket's region (aws s3api get-bucket-location "
        "--bucket {bucket})",
    ),
    # The way to the store.
    StoreProblem(
        "unknown-host",
        ("gaierror", "ClientConnectorDNSError"),
        "the host of the store has no address",
        "a host that can be resolved",
        "correct the host in {endpoint}, or the network's name service, " + _AGAIN,
    ),
    StoreProblem(
        "no-connection",
        (
            *("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "NoValidConnectionsError"),
            *("EndpointConnectionError", "ClientConnectorError", "ConnectTimeoutError"),
        ),
        "nothing answers at the endpoint",
        "a store that listens there",
        "check that the store is up, and host and port in {endpoint}, " + _AGAIN,
    ),
    StoreProblem(
        "wrong-certificate",
        ("SSLCertVerificationError", "ClientConnectorCertificateError"),
        "the certificate of the store is not signed by anyone who is trusted here",
        "a certificate of a known authority",
        "set AWS_CA_BUNDLE (for GCS SSL_CERT_FILE) to the file of the authority that signed it",
    ),
    StoreProblem(
        "no-tls",
        (
            "WRONG_VERSION_NUMBER",
            "RECORD_LAYER_FAILURE",
            "HTTP_REQUEST",
            "ClientConnectorSSLError",
            "SSLError",
        ),
        "the store does not speak TLS",
        "TLS, as https:// says",
        "write http:// instead of https:// in {endpoint}",
    ),
    StoreProblem(
        "no-store",
        (
            *("BadAnswerError", "ResponseParserError", "InvalidURL", "MethodNotAllowed", "400", "405"),
            *("BadStatusLine", "ClientResponseError"),
        ),
        "what answered when asked to {verb} is no store of this kind, or broken",
        "the answer of such a store",
        "check that {endpoint} is the store's: host, port, and https:// where it speaks TLS; and what is in "
        "between (a proxy, a login page)",
    ),
    StoreProblem(
        "undecodable-name",
        ("NameNotUTF8",),
        "a name in this folder, or below it, is not UTF-8, which is how SFTP spells names",
        "names in UTF-8",
        "rename the file on the server (convmv -f latin1 -t utf8 -r --notest FOLDER), or move it away",
    ),
    StoreProblem(
        "no-answer",
        ("NoAnswerError",),
        "the store did not answer in time, when asked to {verb}",
        "an answer within the limit",
        f"check the store and the network to it, then try again; {VARIABLE}=300 waits longer",
    ),
    # The bucket and the object.
    StoreProblem(
        "no-bucket",
        ("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"),
        "there is no such bucket",
        "an existing bucket",
        "create the bucket '{bucket}', or correct its name; cpr never creates one",
        ResourceNotFoundError,
    ),
    StoreProblem(
        "bucket-name",
        ("InvalidBucketName", "ParamValidationError", "InvalidResourceName"),
        "the store takes no bucket of this name",
        "3 to 63 lower-case letters, digits, '-' and '.'",
        "correct the name of the bucket '{bucket}': it has no upper-case letters",
    ),
    StoreProblem(
        "no-permission",
        (
            *("AccessDenied", "Forbidden", "403", "EACCES", "EPERM", "PermissionError", "NotSignedUp"),
            *("AccountProblem", "AllAccessDisabled", "InvalidPayer", "InvalidSecurity"),
            *("AuthorizationFailure", "AuthorizationPermissionMismatch", "InsufficientAccountPermissions"),
        ),
        "no permission to {verb} here",
        "the right to {verb}",
        "{right}",
    ),
    StoreProblem(
        "archived",
        ("InvalidObjectState", "BlobArchived"),
        "the object is in an archive",
        "an object that can be read at once",
        "restore it (aws s3api restore-object), and try again when it is there",
    ),
    StoreProblem(
        "upload-ended",
        ("NoSuchUpload", "InvalidBlockList"),
        "somebody else has ended the upload of this object",
        "an upload that stays until it is whole",
        "run again; if it stays so, let lifecycle rules and cpr gc end no upload that is younger than a day",
    ),
    StoreProblem(
        "changed-on-the-way",
        ("BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"),
        "the store has received other bytes than were sent, and refused them, more than once",
        "a way to the store on which nothing is changed",
        "try again; if it stays so, reach the store without the proxy or network that changes what passes",
    ),
    StoreProblem(
        "name-too-long",
        ("KeyTooLongError", "KeyTooLong", "XMinioInvalidObjectName", "ENAMETOOLONG"),
        "the name is too long",
        "names that the store takes",
        "shorten each name to 180 bytes, and the path to 900; cpr adds a key to the last one",
    ),
    StoreProblem(
        "folder",
        ("NotAFile",),
        "the path is a folder",
        "the path of a file",
        "name a file in it, or take them all with glob('{location}/*')",
        ResourceNotFoundError,
    ),
    StoreProblem(
        "folder-in-place",
        ("EISDIR", "IsADirectoryError", "XMinioObjectExistsAsDirectory"),
        "there is a folder where the file is to be",
        "the path of a file",
        "choose another name, or move the folder away",
    ),
    StoreProblem(
        "file-in-path",
        ("ENOTDIR", "EEXIST", "NotADirectoryError", "XMinioParentIsObject"),
        "part of the path is a file, not a folder",
        "a path of folders",
        "choose another folder, or move the file away",
    ),
    StoreProblem(
        "special-file",
        ("ENXIO",),
        "the path is a pipe, a socket or a device",
        "the path of a file",
        "name a file",
    ),
    StoreProblem(
        "link-loop",
        ("ELOOP",),
        "the path is a link that leads to itself",
        "the path of a file",
        "name a file, or remove the link",
    ),
    # The disk.
    StoreProblem(
        "disk-full",
        ("ENOSPC", "XMinioStorageFull", "InsufficientStorage", "507"),
        "the disk is full",
        "room for what is written",
        "free some space (df -h, and df -i for the number of files), or write elsewhere",
    ),
    StoreProblem(
        "quota",
        ("EDQUOT", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "BucketQuotaExceeded"),
        "the quota is used up",
        "room for what is written",
        "free some space, ask for a larger quota, or write elsewhere",
    ),
    StoreProblem(
        "file-too-large",
        ("EFBIG", "EntityTooLarge", "RequestBodyTooLarge", "BlockCountExceedsLimit"),
        "the file is larger than may be written here",
        "a file within the limit",
        "raise the limit (ulimit -f unlimited), or write to another file system",
    ),
    StoreProblem(
        "read-only",
        ("EROFS",),
        "the folder is on a read-only file system",
        "a folder that may be written to",
        "mount it writable (mount -o remount,rw), or write to another folder",
    ),
    StoreProblem(
        "too-many-files",
        ("EMFILE", "ENFILE"),
        "too many files are open",
        "a process within its limit",
        "raise the limit (ulimit -n 4096), or run fewer tasks at once",
    ),
    StoreProblem(
        "folder-gone",
        ("FolderGone", "ESTALE", "ENODEV", "ENOTCONN", "EHOSTDOWN"),
        "the folder was removed or unmounted meanwhile, or its server has lost it",
        "a folder that stays",
        "mount or create the folder again (mount | grep, ls), and run again",
    ),
)

MISSING = StoreProblem(
    "resourcenotfounderror",
    (),
    "there is no such object",
    "an existing object",
    "check the URL; a deleted result is made again when its task runs again",
    ResourceNotFoundError,
)
OTHER = StoreProblem(
    "transfererror",
    (),
    "the store could not {verb} the object",
    "an answer from the store",
    "check that the store is up and {endpoint} right, " + _AGAIN,
)
