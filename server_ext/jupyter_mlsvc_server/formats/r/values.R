# Values of R and JSON, by the table in docs/reference/values-of-r.md.
#
# Sourced into an environment whose parent is baseenv(), so that nothing the user defines is seen
# here: functions of other packages are called by their namespaces.

# --- from JSON --------------------------------------------------------------------------------

from_json <- function(text) jsonlite::parse_json(text, simplifyVector = FALSE)

text_of <- function(path) {
  text <- readChar(path, file.size(path), useBytes = TRUE)
  Encoding(text) <- "UTF-8"
  text
}

# An untyped value: arrays of one kind of scalars become vectors, arrays of such rows matrices.
simplified <- function(value) {
  if (!is.list(value) || !is.null(names(value))) {
    return(if (is.list(value)) lapply(value, simplified) else value)
  }
  if (!length(value)) return(list())
  if (!any(vapply(value, is.list, TRUE))) return(vector_of(value))
  rows <- lapply(value, simplified)
  if (is_table(value, rows)) do.call(rbind, rows) else rows
}

is_table <- function(raw, rows) {
  all(vapply(raw, function(row) is.list(row) && is.null(names(row)) && length(row) > 0, TRUE)) &&
    all(vapply(rows, function(row) is.atomic(row) && is.null(dim(row)), TRUE)) &&
    length(unique(lengths(rows))) == 1 &&
    length(kinds_of(rows)) <= 1
}

# Kinds among atomic values: numbers are one, and missing ones (logical NA) fit to each.
kinds_of <- function(values) {
  kinds <- vapply(values, function(each) {
    if (is.logical(each) && all(is.na(each))) "null" else mode(each)
  }, "")
  setdiff(unique(kinds), "null")
}

# Scalars as an atomic vector where they are of one kind, else as a list; null is NA, and `nothing`
# where all are null.
vector_of <- function(values, nothing = NA) {
  if (!length(values)) return(numeric())
  is_missing <- vapply(values, is.null, TRUE)
  if (all(is_missing)) return(rep(nothing, length(values)))
  if (any(is_missing)) values[is_missing] <- NA
  kinds <- unique(vapply(values[!is_missing], mode, ""))
  if (length(kinds) <= 1) unlist(values, use.names = FALSE) else unname(values)
}

# A column of a data.frame: as a vector, and a list where it has arrays or objects in it.
column_of <- function(values) {
  nested <- vapply(values, is.list, TRUE)
  if (!any(nested)) return(vector_of(values, NA_real_))
  values[nested] <- lapply(values[nested], simplified)
  values[vapply(values, is.null, TRUE)] <- NA
  unname(values)
}

# A value of a declared type, whose form was checked already. Nothing but nulls are numbers that are
# missing, as they would be among numbers.
typed <- function(value, type) {
  if (is.null(value)) return(if (identical(type, "numeric")) NA_real_)
  switch(type,
    integer = if (abs(value) <= .Machine$integer.max) as.integer(value) else as.double(value),
    numeric = as.double(value),
    vector = vector_of(value, NA_real_),
    matrix = matrix_of(value),
    data.frame = data_frame_of(value),
    logical = ,
    character = value,
    simplified(value)
  )
}

matrix_of <- function(rows) {
  cells <- vector_of(unlist(rows, recursive = FALSE), NA_real_)
  columns <- if (length(rows)) length(rows[[1]]) else 0L
  matrix(cells, nrow = length(rows), ncol = columns, byrow = TRUE)
}

data_frame_of <- function(columns) {
  count <- if (length(columns)) length(columns[[1]]) else 0L
  structure(
    lapply(columns, column_of),
    names = as.character(names(columns)),
    row.names = .set_row_names(count),
    class = "data.frame"
  )
}

# A data.frame with the types of its columns that are known; times come as seconds.
with_types <- function(frame, columns) {
  for (column in columns) frame[[column$name]] <- as_known(frame[[column$name]], column)
  frame
}

as_known <- function(values, column) {
  type <- if (is.null(column$type)) "" else column$type
  if (type == "category") {
    # Of factors the labels are texts.
    levels <- as.character(unlist(column$categories))
    return(factor(as.character(values), levels, ordered = isTRUE(column$ordered)))
  }
  if (startsWith(type, "datetime64")) {
    zone <- if (grepl(",", type)) sub("^.*, *(.*)]$", "\\1", type) else "UTC"
    return(.POSIXct(as.double(values), tz = zone))
  }
  if (startsWith(type, "timedelta64")) return(as.difftime(as.double(values), units = "secs"))
  if (grepl("^(str|period)", type)) return(as.character(values))
  if (startsWith(type, "bool")) return(as.logical(values))
  if (grepl("^([Uu]?[Ii]nt|[Ff]loat)", type) && is.numeric(values)) return(as.double(values))
  values
}

# --- to JSON ----------------------------------------------------------------------------------

carried <- paste(
  "something that JSON can carry (a number, string, vector, factor, matrix, list, date or",
  "data.frame)"
)

refuse <- function(path, got, expected = carried) {
  text <- paste0(path, " must be ", expected, ", got ", got, ".")
  stop(structure(list(message = text, call = NULL), class = c("ValueProblem", "error", "condition")))
}

# JSON text of a value; vectors of one element are unboxed unless `boxed` is true.
to_json <- function(value, path = "value", boxed = FALSE, depth = 0L) {
  if (depth > 200L) refuse(sub("[[$].*", "", path), "a deeper one", "nested at most 200 levels deep")
  if (is.null(value)) return("null")
  if (inherits(value, "json_text")) return(unclass(value))
  if (inherits(value, "POSIXlt")) value <- as.POSIXct(value)
  if (inherits(value, "numeric_version")) value <- as.character(value)
  if (is.raw(value)) return(quoted(jsonlite::base64_enc(unclass(value))))
  if (is.data.frame(value)) return(columns_json(value, path, depth))
  if (is.list(value)) return(list_json(value, path, depth))
  if (!is.atomic(value) || is.complex(value) || isS4(value)) refuse(path, described(value))
  shape <- dim(value)
  if (length(shape) > 1) return(array_json(elements(value), shape))
  texts <- elements(value)
  if (length(texts) == 1 && !boxed && !inherits(value, "AsIs")) texts else in_array(texts)
}

described <- function(value) {
  kind <- class(value)
  if (is.complex(value)) return("complex numbers")
  if (is.function(value)) return("a function")
  if (is.environment(value) && identical(kind, "environment")) return("an environment")
  paste0("an object of class '", kind[[1]], "'")
}

# Which of the contract's seven types a value fits as a parameter; NULL where it fits none.
parameter_type <- function(value) {
  if (is.data.frame(value)) return("data.frame")
  if (is.null(value) || !is.atomic(value) || is.complex(value) || is.raw(value) || isS4(value)) return(NULL)
  shape <- dim(value)
  if (length(shape) > 1) return(if (length(shape) == 2) "matrix")
  if (length(value) != 1 || inherits(value, "AsIs")) return("vector")
  if (is.object(value)) return("character") # dates, times and factors are texts in JSON
  switch(typeof(value), double = "numeric", typeof(value))
}

longest_example <- 100L
longest_text <- 2000L

# A value as JSON, the first rows of a table; NULL where it is too long for an example.
example_of <- function(value, type) {
  if (is.null(type)) return(NULL)
  if (type %in% c("matrix", "data.frame")) {
    value <- value[seq_len(min(3L, nrow(value))), , drop = FALSE]
  } else if (length(value) > longest_example) {
    return(NULL)
  }
  text <- tryCatch(to_json(value, boxed = type == "vector"), error = function(e) NULL)
  if (!is.null(text) && nchar(text, "bytes") <= longest_text) structure(text, class = "json_text")
}

in_array <- function(texts) paste0("[", paste(texts, collapse = ","), "]")

columns_json <- function(frame, path, depth) {
  labels <- names(frame)
  twice <- labels[duplicated(labels)]
  if (length(twice)) {
    refuse(path, paste0("the column '", twice[[1]], "' twice"), "a data.frame with distinct names")
  }
  columns <- vapply(seq_along(labels), function(i) {
    to_json(frame[[i]], paste0(path, "$", labels[[i]]), TRUE, depth + 1L)
  }, "")
  members_json(labels, columns)
}

members_json <- function(labels, texts) {
  paste0("{", paste0(quoted(labels), rep(":", length(labels)), texts, collapse = ","), "}")
}

list_json <- function(value, path, depth) {
  kind <- attr(value, "class")
  if (isS4(value) || !(is.null(kind) || identical(kind, "AsIs"))) refuse(path, described(value))
  labels <- names(value)
  if (is.null(labels)) {
    return(in_array(vapply(seq_along(value), function(i) {
      to_json(value[[i]], paste0(path, "[[", i, "]]"), FALSE, depth + 1L)
    }, "")))
  }
  labels[is.na(labels) | !nzchar(labels)] <- as.character(which(is.na(labels) | !nzchar(labels)))
  twice <- labels[duplicated(labels)]
  if (length(twice)) {
    refuse(path, paste0("the name '", twice[[1]], "' twice"), "a list with distinct names")
  }
  members_json(labels, vapply(seq_along(value), function(i) {
    to_json(value[[i]], paste0(path, "$", labels[[i]]), FALSE, depth + 1L)
  }, ""))
}

# Arrays as nested ones, a matrix as its rows.
array_json <- function(texts, shape) {
  if (length(shape) == 1) return(in_array(texts))
  if (length(shape) == 2) {
    dim(texts) <- shape
    columns <- lapply(seq_len(shape[[2]]), function(j) texts[, j])
    rows <- if (length(columns)) do.call(paste, c(columns, sep = ",")) else rep("", shape[[1]])
    return(in_array(if (length(rows)) paste0("[", rows, "]") else rows))
  }
  dim(texts) <- c(shape[[1]], prod(shape[-1]))
  in_array(vapply(seq_len(shape[[1]]), function(i) array_json(texts[i, ], shape[-1]), ""))
}

# JSON text of each element of an atomic vector.
elements <- function(value) {
  if (inherits(value, "factor")) return(quoted(as.character(value)))
  if (inherits(value, "Date")) return(quoted(format.Date(value, "%Y-%m-%d")))
  if (inherits(value, "POSIXct")) return(quoted(instants(value)))
  if (inherits(value, "difftime")) return(durations(value))
  if (inherits(value, "integer64")) return(or_null(as.character(value)))
  value <- as.vector(unclass(value))
  switch(typeof(value),
    logical = or_null(c("false", "true")[value + 1L]),
    integer = or_null(as.character(value)),
    double = numbers(value),
    quoted(value)
  )
}

or_null <- function(texts) {
  texts[is.na(texts)] <- "null"
  texts
}

# 17 digits read back as the same double; whoever passes the text on spells it as short as it can be.
numbers <- function(value) {
  texts <- sprintf("%.17g", value)
  texts[!is.finite(value)] <- "null"
  texts
}

instants <- function(value) {
  seconds <- as.double(value)
  whole <- floor(seconds)
  micros <- round((seconds - whole) * 1e6)
  whole <- whole + (micros >= 1e6)
  micros[which(micros >= 1e6)] <- 0
  text <- format.POSIXct(.POSIXct(whole, tz = "UTC"), "%Y-%m-%dT%H:%M:%S")
  fraction <- ifelse(micros == 0, "", sub("0+$", "", sprintf(".%06.0f", micros)))
  text <- paste0(text, fraction, "Z")
  text[!is.finite(seconds)] <- NA
  text
}

durations <- function(value) {
  seconds <- as.double(value, units = "secs")
  text <- paste0('"', ifelse(seconds < 0, "-", ""), "PT", numbers(abs(seconds)), 'S"')
  text[!is.finite(seconds)] <- "null"
  text
}

escapes <- c(
  "\b" = "\\b", "\f" = "\\f", "\n" = "\\n", "\r" = "\\r", "\t" = "\\t"
)

# Strings as JSON spells them; NA is null.
quoted <- function(value) {
  missing <- is.na(value)
  text <- enc2utf8(as.character(value))
  broken <- which(!validUTF8(text))
  text[broken] <- iconv(text[broken], "UTF-8", "UTF-8", sub = "\uFFFD")
  special <- which(grepl("[[:cntrl:]\\\\\"]", text, perl = TRUE))
  if (length(special)) text[special] <- escaped(text[special])
  text <- paste0(rep("\"", length(text)), text, rep("\"", length(text)))
  text[missing] <- "null"
  text
}

escaped <- function(text) {
  text <- gsub("\\", "\\\\", text, fixed = TRUE)
  text <- gsub("\"", "\\\"", text, fixed = TRUE)
  for (each in names(escapes)) text <- gsub(each, escapes[[each]], text, fixed = TRUE)
  for (code in setdiff(1:31, utf8ToInt(paste(names(escapes), collapse = "")))) {
    text <- gsub(intToUtf8(code), sprintf("\\u%04x", code), text, fixed = TRUE)
  }
  text
}

# Text of an answer of our own; what has the class "json_text" is JSON already.
answer_json <- function(answer) to_json(answer, "answer")
