# The helper in each R session: sets inputs, reads outputs, saves and restores the workspace.
#
# The server sources this file once by a silent execution and calls `start`. A request of number n
# is a file <folder>/<n>.json, {"op": ..., members of the operation}, with its bytes, if it has any,
# in <folder>/<n>.in. The server then executes `.mlsvc(n)` silently, and finds the answer in
# <folder>/<n>.answer and bytes in <folder>/<n>.out. Operations and answers are those of agent.py;
# bytes of an object are what save() writes, and may come from saveRDS() or serialize() too. Where
# something could not be written, the request has become <folder>/<n>.unwritten: a full disk has no
# room for an answer, and R does not know the number of the error.
#
# Nothing of this is in the user's workspace: `.mlsvc` sits in an entry of its own at the end of the
# search path, and everything it calls is looked up in base R.

for (part in c("values.R", "workspace.R")) sys.source(file.path(home_of_agent, "..", "..", "formats", "r", part), environment())

agent <- new.env(parent = emptyenv())

# Prepare the kernel; `folder` is for requests and answers.
start <- function(folder) {
  agent$folder <- folder
  entry <- list(.mlsvc = respond)
  # IRkernel's sockets keep their settings in the user's workspace, where rm() would end the kernel.
  entry$.pbd_env <- globalenv()$.pbd_env
  attach(entry, name = "tools:mlsvc", pos = length(search()))
  suppressWarnings(rm(".pbd_env", envir = globalenv()))
  kernel <- kernel_at_work()
  if (!is.null(kernel)) {
    refuse_dialogs(kernel)
    lose_no_output(kernel)
  }
  stream_output()
  Sys.unsetenv("JPY_PARENT_PID")
  writeLines("{}", file.path(folder, "started"))
}

respond <- function(number) {
  path <- function(suffix) file.path(agent$folder, paste0(number, suffix))
  old <- options(warn = -1, OutDec = ".", scipen = 0)
  on.exit(options(old))
  request <- from_json(text_of(path(".json")))
  tryCatch(
    {
      answer <- tryCatch(
        c(list(ok = TRUE), operations[[request$op]](request, path)),
        unwritten = stop,
        error = function(e) list(ok = FALSE, error = explained(e, request))
      )
      write_text(enc2utf8(answer_json(answer)), path(".part"))
      file.rename(path(".part"), path(".answer"))
    },
    unwritten = function(e) file.rename(path(".json"), path(".unwritten"))
  )
  invisible()
}

explained <- function(error, request) {
  kind <- if (inherits(error, "agent_error")) error$kind else class(error)[[1]]
  # Exactly: `$` would take `names` for it.
  list(type = kind, message = conditionMessage(error), name = request[["name"]])
}

fail <- function(kind, text) {
  stop(structure(
    list(message = text, call = NULL, kind = kind),
    class = c("agent_error", "error", "condition")
  ))
}

space <- function() globalenv()

the_object <- function(name) {
  if (!exists(name, envir = space(), inherits = FALSE)) {
    fail("UnknownName", sprintf("There is no object '%s' in the session.%s", name, similar_to(name)))
  }
  get(name, envir = space(), inherits = FALSE)
}

similar_to <- function(name) {
  names <- ls(space())
  near <- if (length(names)) utils::adist(name, names, ignore.case = TRUE)[1, ] else integer()
  if (!length(near) || min(near) > 2) return("")
  sprintf(" Did you mean '%s'?", names[[which.min(near)]])
}

operations <- list(
  set = function(request, path) {
    types <- request$types
    values <- lapply(structure(names(request$values), names = names(request$values)), function(name) {
      value <- request$values[[name]]
      if (is.null(types[[name]])) simplified(value) else typed(value, types[[name]])
    })
    for (name in names(values)) assign(name, values[[name]], envir = space())
    list()
  },
  get = function(request, path) {
    names <- unlist(request$names)
    texts <- vapply(names, function(name) to_json(the_object(name), name), "")
    is_frame <- vapply(names, function(name) is.data.frame(the_object(name)), TRUE)
    types <- structure(rep(list("data.frame"), sum(is_frame)), names = names[is_frame])
    texts <- enc2utf8(texts)
    if (sum(nchar(texts, "bytes")) <= 65536) {
      return(list(values = structure(members_json(names, texts), class = "json_text"), types = types))
    }
    write_text(texts, path(".out"))
    list(sizes = structure(as.list(nchar(texts, "bytes")), names = names), types = types)
  },
  set_pickled = function(request, path) {
    bytes <- readBin(path(".in"), "raw", file.size(path(".in")))
    value <- tryCatch(object_from(bytes, request$name), error = function(e) {
      fail("NotSerializable", sprintf(
        "The bytes are no object that R can read here (%s). Send what save(), saveRDS() or serialize() wrote.",
        sub("\n.*", "", conditionMessage(e))
      ))
    })
    assign(request$name, value, envir = space())
    list(type = kind_of(value))
  },
  get_pickled = function(request, path) {
    value <- the_object(request$name)
    reason <- why_not_kept(request$name, value)
    if (nzchar(reason)) fail("NotSerializable", reason)
    failed <- write_objects(request$name, space(), path(".out"))
    if (length(failed)) fail("NotSerializable", failed[[1]])
    list(type = kind_of(value), size = file.size(path(".out")))
  },
  delete = function(request, path) {
    the_object(request$name)
    rm(list = request$name, envir = space())
    list()
  },
  list = function(request, path) {
    list(objects = described_objects(ls(space()), space()))
  },
  inventory = function(request, path) {
    if (!isTRUE(request$summary)) {
      fail("NotComparable", paste(
        "Workspaces are compared between Python sessions only; this session runs R.",
        "ls.str() and sessionInfo() in the session show what it has."
      ))
    }
    rows <- described_objects(ls(space()), space(), function(value) {
      type <- parameter_type(value)
      list(parameterType = type, example = example_of(value, type))
    })
    list(inventory = list(pythonVersion = "", objects = rows))
  },
  capture = function(request, path) {
    file <- file.path(request$staging, "stream")
    report <- save_workspace(space(), file)
    list(report = list(workspace = report, stream_size = file.size(file)))
  },
  check = function(request, path) {
    reason <- why_incompatible(request$workspace)
    if (nzchar(reason)) fail("IncompatibleWorkspace", reason)
    list(warnings = as.list(differences(request$workspace)))
  },
  restore = function(request, path) {
    digest <- request$manifest$stream$digest
    file <- file.path(request$blobs, substr(digest, 1, 2), digest)
    list(names = as.list(load_workspace(file, space())), lost = structure(list(), names = character()))
  }
)

# --- the kernel -------------------------------------------------------------------------------

# IRkernel's object, from the frame of the function that runs it.
kernel_at_work <- function() {
  for (frame in sys.frames()) {
    if (!is.null(frame$kernel) && inherits(frame$kernel, "Kernel")) return(frame$kernel)
  }
  NULL
}

# What asks the person at the keyboard, or ends the kernel, is an error of the code.
refuse_dialogs <- function(kernel) {
  try(silent = TRUE, {
    executor <- as.environment(kernel$executor)
    refuse_as <- function(text) function(...) stop(text, call. = FALSE)
    assign("quit", refuse_as("quit() is not for sessions; close the session to end it."), executor)
    asks <- refuse_as("Nobody is there to answer: give the value to the code as an input.")
    assign("readline", asks, executor)
    assign("get_pass", asks, executor)
  })
}

# A publishing socket drops messages when its reader lags by a thousand; ours waits instead.
lose_no_output <- function(kernel) {
  nodrop <- 69L # ZMQ_XPUB_NODROP
  try(pbdZMQ::zmq.setsockopt(kernel$sockets$iopub, nodrop, 1L), silent = TRUE)
}

# IRkernel sends what code prints after each whole expression, a loop's output thus at its end.
# Printing itself sends it on here, a few times a second and where a line has ended.
stream_output <- function() {
  sent <- proc.time()[[3]]
  evaluating <- tryCatch(asNamespace("evaluate"), error = function(e) NULL)
  send <- function() {
    now <- proc.time()[[3]]
    if (now - sent < 0.1) return()
    # IRkernel's own way to end a line for the reader; it sends that itself.
    if (identical(topenv(parent.frame(2)), evaluating)) return()
    captured <- getOption("try.outFile")
    if (!inherits(captured, "textConnection") || sink.number() != 1) return()
    if (tryCatch(isIncomplete(captured), error = function(e) TRUE)) return()
    sent <<- now
    utils::flush.console()
  }
  # The function's own body stays where it is, so that its errors and tracebacks are as ever.
  followed_by_send <- function(printing, result) {
    body(printing) <- as.call(list(
      as.name("{"), body(printing), as.call(list(send)), call("invisible", result)
    ))
    printing
  }
  replace_in_base("cat", followed_by_send(base::cat, NULL))
  replace_in_base("print.default", followed_by_send(base::print.default, as.name("x")))
}

replace_in_base <- function(name, value) {
  unlockBinding(name, baseenv())
  assign(name, value, baseenv())
  lockBinding(name, baseenv())
}
