"""Services: definitions, versions, publishing and consuming."""
