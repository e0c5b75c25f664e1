# Start-up profile of R sessions, before the kernel runs.

# Processes that the session's code starts get profiles of their own.
Sys.unsetenv("R_PROFILE_USER")

# An interrupt that comes just after the code has ended must not end the kernel, which listens for
# one only while code runs.
if (exists("globalCallingHandlers", baseenv())) {
  globalCallingHandlers(interrupt = function(condition) tryInvokeRestart("resume"))
}
