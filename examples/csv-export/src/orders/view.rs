//! What can be exported: views, and filters on them. A value of these types
//! is one that exists.

use serde::{Deserialize, Serialize};

/// A list of the values that can be chosen, with their stored names and their
/// names on the page.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $stored:literal, $label:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) enum $name {
            $(#[serde(rename = $stored)] $variant,)*
        }

        impl $name {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in requests, payloads and the database.
            pub(crate) const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $stored,)*
                }
            }

            /// The name on the page.
            pub(crate) const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }
    };
}

choice! {
    /// A view of the orders.
    View {
        AllOrders = "all_orders", "All orders";
        OpenOrders = "open_orders", "Open orders";
        Orders2025 = "orders_2025", "Orders of 2025";
        RevenueByCountry = "revenue_2025_by_country", "2025 revenue by country";
        SalesByMonth = "sales_by_month", "Sales by month and product";
    }
}

choice! {
    /// Where an order is in its life.
    Status {
        Pending = "pending", "Pending";
        Paid = "paid", "Paid";
        Shipped = "shipped", "Shipped";
        Delivered = "delivered", "Delivered";
        Cancelled = "cancelled", "Cancelled";
        Refunded = "refunded", "Refunded";
    }
}

choice! {
    /// Where an order goes to.
    Country {
        Germany = "DE", "Germany";
        UnitedStates = "US", "United States";
        France = "FR", "France";
        UnitedKingdom = "GB", "United Kingdom";
        Netherlands = "NL", "Netherlands";
        Sweden = "SE", "Sweden";
        Spain = "ES", "Spain";
        Japan = "JP", "Japan";
        Brazil = "BR", "Brazil";
        Denmark = "DK", "Denmark";
        Portugal = "PT", "Portugal";
        Nigeria = "NG", "Nigeria";
    }
}

/// Which rows of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Filters {
    /// Only orders with this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
    /// Only orders that go to this country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) country: Option<Country>,
}

macro_rules! sql {
    ($view:expr, $($before:literal, $after:literal)?) => {
        match $view {
            View::AllOrders => concat!($($before,)? include_str!("sql/all_orders.sql") $(, $after)?),
            View::OpenOrders => concat!($($before,)? include_str!("sql/open_orders.sql") $(, $after)?),
            View::Orders2025 => concat!($($before,)? include_str!("sql/orders_2025.sql") $(, $after)?),
            View::RevenueByCountry => concat!(
                $($before,)? include_str!("sql/revenue_2025_by_country.sql") $(, $after)?
            ),
            View::SalesByMonth => concat!($($before,)? include_str!("sql/sales_by_month.sql") $(, $after)?),
        }
    };
}

impl View {
    /// The statement that reads it; its parameters are `:status`, `:country`
    /// and `:limit`.
    pub(super) const fn sql(self) -> &'static str {
        sql!(self,)
    }

    /// The statement that counts its rows, with the same parameters.
    pub(super) const fn count_sql(self) -> &'static str {
        sql!(self, "SELECT count(*) FROM (", ")")
    }
}
