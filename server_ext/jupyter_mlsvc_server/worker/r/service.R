# Runs the code of a service in R.
#
# Started with the path of a file of JSON: the code, the snapshot, and two file descriptors. It
# restores the snapshot, parses the code and writes what came of that, one message; then it reads
# requests and answers each. A message is its length, four bytes in little-endian order, and JSON.
#
# Each request runs in a fork of this process, which ends with it, so that nothing it does, be it to
# objects, options, loaded packages or the working directory, is there for the next one. An answer
# of no bytes says that the fork has crashed.

local(envir = new.env(parent = baseenv()), {
  config_path <- commandArgs(TRUE)[[1]]
  home_of_agent <- dirname(normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(), value = TRUE))))
  for (part in c("values.R", "workspace.R")) sys.source(file.path(home_of_agent, "..", "..", "formats", "r", part), environment())
  config <- from_json(text_of(config_path))

  expressions <- NULL
  places <- NULL
  at <- 0L
  space <- function() globalenv()

  # --- preparing ------------------------------------------------------------------------------

  prepare <- function() {
    parsed <- list()
    for (what in c("initCode", "code")) {
      text <- config[[what]]
      result <- tryCatch(
        parse(text = text, keep.source = FALSE, encoding = "UTF-8"),
        error = function(e) e
      )
      if (inherits(result, "error")) {
        return(list(syntax = list(what = what, message = conditionMessage(result))))
      }
      parsed[[what]] <- result
      places <<- c(places, places_of(what, text))
    }
    expressions <<- c(parsed$initCode, parsed$code)
    tell <- list(needed = as.list(names_read(expressions)), lost = structure(list(), names = character()))
    if (nzchar(config$stream)) {
      reason <- why_incompatible(config$workspace)
      if (nzchar(reason)) return(list(snapshot = reason))
      failed <- tryCatch({
        load_workspace(config$stream, space())
        ""
      }, error = function(e) conditionMessage(e))
      if (nzchar(failed)) return(list(snapshot = paste("The snapshot could not be restored:", failed)))
    }
    for (name in packages_named(expressions)) suppressWarnings(suppressMessages(
      tryCatch(loadNamespace(name), error = function(e) NULL)
    ))
    # A fork compiles nothing by itself, and loops that are not compiled are slow.
    for (name in ls(space())) {
      value <- get(name, envir = space())
      if (typeof(value) == "closure") assign(name, compiled(compiler::cmpfun, value), envir = space())
    }
    expressions <<- lapply(expressions, function(each) compiled(compiler::compile, each))
    tell
  }

  # Where each expression of a text begins.
  places_of <- function(what, text) {
    sources <- attr(parse(text = text, keep.source = TRUE, encoding = "UTF-8"), "srcref")
    lapply(sources, function(source) list(part = what, line = source[[1]]))
  }

  compiled <- function(compile, code) {
    tryCatch(compile(code, options = list(suppressAll = TRUE)), error = function(e) code)
  }

  # Packages that the code asks for: loaded here once, they need only be attached for a request.
  packages_named <- function(code) {
    found <- character()
    look <- function(part) {
      if (is.call(part)) {
        head <- if (is.symbol(part[[1]])) as.character(part[[1]]) else ""
        asks <- head %in% c("library", "require", "requireNamespace", "loadNamespace", "::", ":::")
        named <- if (asks && length(part) > 1) part[[2]]
        if (is.symbol(named) || is.character(named)) found <<- c(found, as.character(named))
      }
      if (is.call(part) || is.expression(part)) for (i in seq_along(part)) if (!is_empty(part[[i]])) look(part[[i]])
    }
    look(code)
    unique(found)
  }

  # --- one request ----------------------------------------------------------------------------

  # Runs in the fork; gives the answer as JSON.
  respond <- function(body) {
    outcome <- tryCatch(
      {
        inputs <- from_json(body)
        for (name in names(config$inputs)) {
          value <- typed(inputs[[name]], config$inputs[[name]])
          columns <- config$columns[[name]]
          assign(name, if (is.data.frame(value)) with_types(value, columns) else value, envir = space())
        }
        run()
        outputs_json()
      },
      run_failed = function(e) paste0(
        "{\"error\":", quoted(e$text), ",\"part\":", quoted(e$place$part),
        ",\"line\":", e$place$line, "}"
      ),
      ValueProblem = function(e) failure("unfit", paste0("Output ", conditionMessage(e))),
      not_set = function(e) failure("not_set", e$name)
    )
    charToRaw(outcome)
  }

  failure <- function(kind, text) paste0("{", quoted(kind), ":", quoted(text), "}")

  run <- function() {
    depth <- sys.nframe()
    withCallingHandlers(evaluate(), error = function(e) {
      text <- message_of(e)
      calls <- calls_of_user(sys.calls(), depth)
      cat(text, "\n", if (length(calls)) paste0("Calls: ", paste(calls, collapse = " -> "), "\n"),
        sep = "", file = stderr())
      stop(structure(
        list(message = text, call = NULL, text = text, place = places[[at]]),
        class = c("run_failed", "condition")
      ))
    })
  }

  evaluate <- function() {
    for (.number in seq_along(expressions)) {
      .expression <- expressions[[.number]]
      at <<- .number
      .result <- withVisible(eval(.expression, globalenv()))
      if (.result$visible) print(.result$value)
    }
  }

  # The condition as R prints it, in one line.
  message_of <- function(e) {
    call <- conditionCall(e)
    is_ours <- identical(call, quote(eval(.expression, globalenv())))
    at <- if (is.null(call) || is_ours) "" else paste0(" in ", deparse(call, nlines = 1)[[1]])
    paste0("Error", at, ": ", trimws(gsub("\\s*\n\\s*", " ", conditionMessage(e))))
  }

  # Names of the functions that were at work, without ours around and behind them.
  calls_of_user <- function(calls, depth) {
    names <- vapply(calls, function(call) {
      if (is.symbol(call[[1]])) as.character(call[[1]]) else deparse(call[[1]], nlines = 1)[[1]]
    }, "")
    start <- which(seq_along(names) > depth & names == "eval")
    if (!length(start)) return(character())
    names <- names[-seq_len(start[[1]] + 1L)]
    ends <- which(names %in% c("stop", ".handleSimpleError", "h", "signalCondition"))
    utils::head(if (length(ends)) names[seq_len(ends[[1]] - 1L)] else names, 20)
  }

  outputs_json <- function() {
    names <- names(config$outputs)
    texts <- vapply(names, function(name) {
      if (!exists(name, envir = space(), inherits = FALSE)) {
        stop(structure(
          list(message = name, call = NULL, name = name),
          class = c("not_set", "error", "condition")
        ))
      }
      output_json(get(name, envir = space(), inherits = FALSE), config$outputs[[name]], name)
    }, "")
    paste0("{\"outputs\":", members_json(names, texts), "}")
  }

  output_json <- function(value, type, name) {
    is_plain_list <- is.list(value) && !is.data.frame(value) && is.null(attr(value, "class"))
    if (type == "data.frame" && is.matrix(value)) value <- as.data.frame(value)
    if (type == "data.frame" && is_plain_list && !is.null(names(value))) {
      columns <- vapply(names(value), function(each) {
        to_json(value[[each]], paste0(name, "$", each), boxed = TRUE)
      }, "")
      return(members_json(names(value), columns))
    }
    to_json(value, name, boxed = type == "vector")
  }

  # --- serving --------------------------------------------------------------------------------

  write_message <- function(to, bytes) {
    writeBin(length(bytes), to, size = 4, endian = "little")
    writeBin(bytes, to)
    flush(to)
  }

  # Forks a process for the next request ahead of it, so that nobody waits for the fork.
  serve <- function(from, to) {
    repeat {
      job <- parallel::mcparallel(attend(from), mc.set.seed = TRUE)
      found <- NULL
      # A process that the code leaves behind holds its pipe open: the answer is not waited past.
      while (is.null(found)) {
        found <- suppressWarnings(parallel::mccollect(job, wait = FALSE, timeout = -1))
      }
      answer <- found[[1]]
      if (identical(answer, "the end")) return()
      write_message(to, if (is.raw(answer)) answer else raw())
      # What the code left in the folder for temporary files; the next fork has the same one.
      unlink(list.files(tempdir(), all.files = TRUE, full.names = TRUE, no.. = TRUE), recursive = TRUE)
    }
  }

  attend <- function(from) {
    size <- readBin(from, "integer", 1, size = 4, endian = "little")
    if (!length(size)) return("the end")
    body <- readChar(from, size, useBytes = TRUE)
    Encoding(body) <- "UTF-8"
    respond(body)
  }

  replace_in_base <- function(name, value) {
    unlockBinding(name, baseenv())
    assign(name, value, baseenv())
    lockBinding(name, baseenv())
  }

  main <- function() {
    from <- file(paste0("/dev/fd/", config$requests), "rb", raw = TRUE)
    to <- file(paste0("/dev/fd/", config$answers), "wb", raw = TRUE)
    options(
      warn = 1,
      device = function(...) grDevices::pdf(NULL, ...),
      error = NULL,
      keep.source = FALSE
    )
    refuse <- function(...) stop("quit() is not for services: let the code come to its end.", call. = FALSE)
    for (name in c("q", "quit")) replace_in_base(name, refuse)
    write_message(to, charToRaw(answer_json(prepare())))
    gc()
    serve(from, to)
  }

  main()
})
