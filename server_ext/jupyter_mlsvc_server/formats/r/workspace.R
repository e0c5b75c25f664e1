# The objects of the user's workspace: what there is, what a snapshot can keep, saving and loading.

state_of_r <- c(".Random.seed", ".Last.value", ".Last", ".First")

# Names that a snapshot keeps; those that begin with a dot, as definitions of classes, are some.
own_names <- function(space) setdiff(ls(space, all.names = TRUE), state_of_r)

kind_of <- function(value) class(value)[[1]]

# The value of a name, or why it has none: a binding may run code that fails, or hold nothing, as
# after a loop over the arguments of a function.
looked_up <- function(name, space) {
  tryCatch(
    {
      value <- get(name, envir = space, inherits = FALSE)
      force(value)
      list(value = value)
    },
    error = function(e) {
      list(failed = sprintf("%s cannot be read: %s.", name, gsub("\\s*\n\\s*", " ", conditionMessage(e))))
    }
  )
}

# What there is to say of each object: `more` gives further members of what can be read.
described_objects <- function(names, space, more = function(value) list()) {
  lapply(names, function(name) {
    found <- looked_up(name, space)
    if (!is.null(found$failed)) return(list(name = name, type = "unknown", size = 0))
    value <- found$value
    size <- as.double(utils::object.size(value))
    c(list(name = name, type = kind_of(value), size = size), more(value))
  })
}

# --- what can be kept -------------------------------------------------------------------------

# Why an object is worth nothing in another process; "" for one that can be kept.
#
# Memory outside of R is reached by an external pointer, which is saved as an empty one. Looked at
# are the object and what it holds in lists, slots and attributes. Environments are not searched:
# objects of packages (R6, reference classes, lme4's models) make their pointers anew.
why_not_kept <- function(name, value) {
  # Definitions of classes and methods have pointers of their own, which R renews.
  if (startsWith(name, ".__")) return("")
  found <- outside(value, name, new.env(parent = emptyenv()))
  if (is.null(found)) return("")
  what <- if (found$kind == "connection") {
    c("a connection", "open it in the code that uses it")
  } else if (found$kind == "weakref") {
    c("a weak reference", "keep the object itself")
  } else {
    c("a pointer to memory outside of R", "create it in the code that uses it, such as initCode")
  }
  sprintf(
    "%s is %s, which belongs to this process and cannot be saved: %s.",
    found$place, what[[1]], what[[2]]
  )
}

most_visited <- 10000L
# Pointers which their packages do without after loading, by the attribute or class that says so.
harmless_attributes <- c(".internal.selfref", "class", "names", "row.names", "levels", "dim", "tsp")
harmless_classes <- c("xgb.Booster", "catboost.Model", "environment", "R6")

outside <- function(value, place, seen) {
  seen$count <- (if (is.null(seen$count)) 0L else seen$count) + 1L
  if (seen$count > most_visited) return(NULL)
  if (inherits(value, "connection")) return(list(place = place, kind = "connection"))
  kind <- typeof(value)
  if (kind %in% c("externalptr", "weakref")) return(list(place = place, kind = kind))
  if (is.environment(value) || is.function(value) || inherits(value, harmless_classes)) return(NULL)
  if (inherits(value, "DBIConnection")) return(list(place = place, kind = "connection"))
  for (part in names(attributes(value))) {
    if (part %in% harmless_attributes) next
    found <- outside(attr(value, part, exact = TRUE), paste0(place, "@", part), seen)
    if (!is.null(found)) return(found)
  }
  if (kind != "list") return(NULL)
  value <- unclass(value)
  labels <- names(value)
  for (i in seq_along(value)) {
    if (is.atomic(value[[i]]) && is.null(attributes(value[[i]]))) next
    step <- if (is.null(labels) || !nzchar(labels[[i]])) sprintf("[[%d]]", i) else paste0("$", labels[[i]])
    found <- outside(value[[i]], paste0(place, step), seen)
    if (!is.null(found)) return(found)
  }
  NULL
}

# --- what code looks up -----------------------------------------------------------------------

# Names that code reads from outside of itself; of a function, those that are not its own.
#
# Roughly: a name that is assigned anywhere in the code counts as its own.
names_read <- function(code) {
  found <- new.env(parent = emptyenv())
  found$read <- found$set <- character()
  visit(code, found)
  setdiff(unique(found$read), found$set)
}

visit <- function(code, found) {
  if (is.function(code)) {
    if (is.primitive(code)) return(invisible())
    found$read <- c(found$read, names_read_inside(formals(code), body(code)))
  } else if (is.symbol(code)) {
    found$read <- c(found$read, as.character(code))
  } else if (is.expression(code) || is.pairlist(code) || is.list(code)) {
    for (i in seq_along(code)) if (!is_empty(code[[i]])) visit(code[[i]], found)
  } else if (is.call(code)) {
    visit_call(code, found)
  }
  invisible()
}

visit_call <- function(code, found) {
  head <- if (is.symbol(code[[1]])) as.character(code[[1]]) else ""
  if (head %in% c("$", "@") && length(code) == 3) {
    visit(code[[2]], found)
  } else if (head %in% c("::", ":::", "~", "quote", "library", "require")) {
    # Names in there are no variables, or columns of some data.
  } else if (head == "function") {
    found$read <- c(found$read, names_read_inside(code[[2]], code[[3]]))
  } else {
    if (head %in% c("<-", "=", "for", "<<-") && length(code) > 2) visit_target(code[[2]], found)
    else if (length(code) > 1 && !is_empty(code[[2]])) visit(code[[2]], found)
    if (head == "") visit(code[[1]], found) else found$read <- c(found$read, head)
    for (i in seq_along(code)[-(1:2)]) if (!is_empty(code[[i]])) visit(code[[i]], found)
  }
}

visit_target <- function(target, found) {
  if (is.symbol(target) || is.character(target)) {
    found$set <- c(found$set, as.character(target))
  } else {
    visit(target, found)
  }
}

names_read_inside <- function(arguments, code) {
  inner <- c(as.list(arguments), list(code))
  setdiff(names_read(inner), names(arguments))
}

is_empty <- function(code) is.symbol(code) && !nzchar(as.character(code))

uses_of <- function(value, names) {
  if (is.function(value)) intersect(names_read(value), names) else character()
}

# --- saving and loading -----------------------------------------------------------------------

# Loaded packages with their versions, without those of R itself.
package_versions <- function() {
  loaded <- sort(setdiff(loadedNamespaces(), rownames(utils::installed.packages(priority = "base"))))
  versions <- lapply(loaded, function(name) as.character(getNamespaceVersion(name)))
  structure(versions, names = loaded)
}

r_version <- function() as.character(getRversion())

# Write a workspace to a file that load() reads; gives what a manifest says of it.
save_workspace <- function(space, path) {
  all_names <- own_names(space)
  found <- lapply(structure(all_names, names = all_names), looked_up, space)
  reasons <- vapply(all_names, function(name) {
    if (!is.null(found[[name]]$failed)) return(found[[name]]$failed)
    tryCatch(why_not_kept(name, found[[name]]$value), error = function(e) "")
  }, "")
  kept <- all_names[!nzchar(reasons)]
  failed <- write_objects(kept, space, path)
  reasons[names(failed)] <- failed
  rows <- lapply(all_names, function(name) {
    is_kept <- !nzchar(reasons[[name]])
    value <- found[[name]]$value
    list(
      name = name,
      type = if (is.null(found[[name]]$failed)) kind_of(value) else "unknown",
      size = if (is_kept) as.double(utils::object.size(value)) else 0,
      kept = is_kept,
      reason = reasons[[name]],
      uses = as.list(uses_of(value, all_names))
    )
  })
  list(r_version = r_version(), packages = package_versions(), objects = unname(rows))
}

# All objects at once, so that what two of them share stays shared; gives reasons of those left out.
write_objects <- function(names, space, path) {
  save_all <- function(names) {
    write_whole(path, function(con) save(list = names, file = con, envir = space))
  }
  failed <- character()
  tryCatch(save_all(names), error = function(e) {
    for (name in names) {
      tryCatch(
        serialize(get(name, envir = space), NULL),
        error = function(e) failed[[name]] <<- sprintf("%s cannot be saved: %s.", name, conditionMessage(e))
      )
    }
    # What is left can be saved: it is the disk that takes no more.
    tryCatch(save_all(setdiff(names, base::names(failed))), error = function(e) unwritten())
  })
  failed
}

write_text <- function(texts, path) {
  tryCatch(
    write_whole(path, function(con) writeLines(texts, con, sep = "", useBytes = TRUE)),
    error = function(e) unwritten()
  )
}

# A disk may be found full only when the last bytes leave R's buffer, which is no error of close().
write_whole <- function(path, write) {
  con <- file(path, "wb")
  tryCatch(write(con), finally = status <- close(con))
  if (length(status) && status != 0) stop("the last bytes could not be written")
}

unwritten <- function() {
  stop(structure(
    list(message = "the disk takes no more", call = NULL),
    class = c("unwritten", "error", "condition")
  ))
}

# Set the saved objects; gives their names. All are read before the first is set.
load_workspace <- function(path, space) {
  loaded <- new.env(parent = emptyenv())
  names <- if (file.size(path)) suppressWarnings(load(path, envir = loaded)) else character()
  for (name in names) assign(name, get(name, envir = loaded), envir = space)
  # Classes and methods that were defined in the workspace are found from now on.
  if (any(startsWith(names, ".__"))) methods::cacheMetaData(space, TRUE, space)
  names
}

# Why a workspace of other versions can't be restored here; "" if it can.
why_incompatible <- function(workspace) {
  there <- workspace$r_version
  if (package_version(there)$major <= getRversion()$major) return("")
  sprintf(
    "The snapshot was taken with R %s and this is R %s, which is older and may not read it.",
    there, r_version()
  )
}

differences <- function(workspace) {
  there <- workspace$r_version
  same <- identical(unclass(package_version(there))[[1]][1:2], unclass(getRversion())[[1]][1:2])
  notes <- if (same) character() else sprintf("R was %s then and is %s here.", there, r_version())
  for (name in names(workspace$packages)) {
    version <- workspace$packages[[name]]
    here <- tryCatch(as.character(utils::packageVersion(name)), error = function(e) "")
    if (!nzchar(here)) {
      notes <- c(notes, sprintf("The package %s %s was loaded then and is not installed here.", name, version))
    } else if (!identical(as.character(package_version(version, strict = FALSE)), here)) {
      # 1.0-3 and 1.0.3 are the same version, written by its authors and by R.
      notes <- c(notes, sprintf("The package %s was %s then and is %s here.", name, version, here))
    }
  }
  notes
}

# --- one object as bytes ----------------------------------------------------------------------

# An object from what save(), saveRDS() or serialize() wrote, compressed or not.
object_from <- function(bytes, name) {
  if (is_compressed(bytes)) bytes <- memDecompress(bytes, type = "unknown")
  if (!is_workspace(bytes)) return(unserialize(bytes))
  loaded <- new.env(parent = emptyenv())
  con <- rawConnection(bytes)
  on.exit(close(con))
  names <- load(con, envir = loaded)
  chosen <- if (length(names) == 1) names else intersect(names, name)
  if (!length(chosen)) {
    stop("they hold ", length(names), " objects (", paste(names, collapse = ", "), "), none of this name")
  }
  get(chosen, envir = loaded)
}

begins_with <- function(bytes, start) {
  length(bytes) >= length(start) && all(bytes[seq_along(start)] == start)
}

is_compressed <- function(bytes) {
  begins_with(bytes, as.raw(c(0x1f, 0x8b))) || begins_with(bytes, charToRaw("BZh")) ||
    begins_with(bytes, as.raw(c(0xfd, 0x37, 0x7a, 0x58, 0x5a)))
}

is_workspace <- function(bytes) {
  begins_with(bytes, charToRaw("RDX")) || begins_with(bytes, charToRaw("RDA")) ||
    begins_with(bytes, charToRaw("RDB"))
}
