"""What the demo shop is made of. The people are invented, the places and their PIN codes are real."""

from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from app.db.shop import (
    DistributorStatus,
    Order,
    OrderStatus,
    PaymentStatus,
    Product,
    Subscription,
    SubscriptionFrequency,
    SubscriptionStatus,
)


class Place(NamedTuple):
    locality: str
    city: str
    state: str
    pin: str


class Region(NamedTuple):
    given_names: tuple[str, ...]
    family_names: tuple[str, ...]
    places: tuple[Place, ...]


class DemoCategory(NamedTuple):
    slug: str
    name: str
    parent: str | None = None


class DemoProduct(NamedTuple):
    """`subscribers` weighs how often it is subscribed to; 0 is not on offer for subscriptions."""

    sku: str
    title: str
    category: str
    unit_size: str
    consumer_price: Decimal
    distributor_price: Decimal
    stock: int
    subscribers: int = 0
    is_active: bool = True


REGIONS = (
    Region(
        ("Kavitha", "Senthil", "Meenakshi", "Arun", "Lakshmi", "Karthik", "Revathi", "Saravanan", "Muthu"),
        ("Subramanian", "Raman", "Krishnan", "Murugesan", "Natarajan", "Venkatesan", "Selvaraj", "Iyer"),
        (
            Place("Mylapore", "Chennai", "Tamil Nadu", "600004"),
            Place("T. Nagar", "Chennai", "Tamil Nadu", "600017"),
            Place("Adyar", "Chennai", "Tamil Nadu", "600020"),
            Place("Anna Nagar", "Chennai", "Tamil Nadu", "600040"),
            Place("R.S. Puram", "Coimbatore", "Tamil Nadu", "641002"),
            Place("K.K. Nagar", "Madurai", "Tamil Nadu", "625020"),
        ),
    ),
    Region(
        ("Anjali", "Sreejith", "Lekha", "Vishnu", "Asha", "Biju", "Mariamma", "Rajeev", "Fathima"),
        ("Nair", "Menon", "Kurian", "Pillai", "Varghese", "Panicker", "Joseph", "Rahman"),
        (
            Place("Fort Kochi", "Kochi", "Kerala", "682001"),
            Place("Kaloor", "Kochi", "Kerala", "682017"),
            Place("Edappally", "Kochi", "Kerala", "682024"),
            Place("Kowdiar", "Thiruvananthapuram", "Kerala", "695003"),
            Place("Pattom", "Thiruvananthapuram", "Kerala", "695004"),
        ),
    ),
    Region(
        ("Sushma", "Manjunath", "Shruthi", "Raghavendra", "Kavya", "Basavaraj", "Vidya", "Girish", "Pavithra"),
        ("Gowda", "Hegde", "Rao", "Shetty", "Bhat", "Murthy", "Patil", "Kamath"),
        (
            Place("Malleshwaram", "Bengaluru", "Karnataka", "560003"),
            Place("Basavanagudi", "Bengaluru", "Karnataka", "560004"),
            Place("Koramangala", "Bengaluru", "Karnataka", "560034"),
            Place("Indiranagar", "Bengaluru", "Karnataka", "560038"),
            Place("Whitefield", "Bengaluru", "Karnataka", "560066"),
            Place("Vijayanagar", "Mysuru", "Karnataka", "570017"),
        ),
    ),
    Region(
        ("Swathi", "Venkatesh", "Padmaja", "Srinivas", "Sravani", "Ramesh", "Haritha", "Chaitanya"),
        ("Reddy", "Naidu", "Chowdary", "Sastry", "Raju", "Varma", "Goud"),
        (
            Place("Himayatnagar", "Hyderabad", "Telangana", "500029"),
            Place("Banjara Hills", "Hyderabad", "Telangana", "500034"),
            Place("Kukatpally", "Hyderabad", "Telangana", "500072"),
            Place("Governorpet", "Vijayawada", "Andhra Pradesh", "520002"),
            Place("MVP Colony", "Visakhapatnam", "Andhra Pradesh", "530017"),
        ),
    ),
    Region(
        ("Snehal", "Sachin", "Ashwini", "Mangesh", "Vaishali", "Nilesh", "Pooja", "Sandeep", "Savio"),
        ("Deshpande", "Joshi", "Kulkarni", "Shinde", "Jadhav", "Pawar", "Gokhale", "D'Souza"),
        (
            Place("Dadar West", "Mumbai", "Maharashtra", "400028"),
            Place("Bandra West", "Mumbai", "Maharashtra", "400050"),
            Place("Borivali West", "Mumbai", "Maharashtra", "400092"),
            Place("Shivajinagar", "Pune", "Maharashtra", "411005"),
            Place("Kothrud", "Pune", "Maharashtra", "411038"),
            Place("Dharampeth", "Nagpur", "Maharashtra", "440010"),
            Place("Altinho", "Panaji", "Goa", "403001"),
        ),
    ),
    Region(
        ("Hetal", "Jignesh", "Bhavna", "Ketan", "Nisha", "Mehul", "Falguni", "Chirag", "Mahendra"),
        ("Patel", "Shah", "Mehta", "Desai", "Trivedi", "Parmar", "Solanki", "Rathore", "Jain"),
        (
            Place("Maninagar", "Ahmedabad", "Gujarat", "380008"),
            Place("Navrangpura", "Ahmedabad", "Gujarat", "380009"),
            Place("Alkapuri", "Vadodara", "Gujarat", "390007"),
            Place("Adajan", "Surat", "Gujarat", "395009"),
            Place("Malviya Nagar", "Jaipur", "Rajasthan", "302017"),
            Place("Vaishali Nagar", "Jaipur", "Rajasthan", "302021"),
        ),
    ),
    Region(
        ("Harpreet", "Gurpreet", "Simran", "Manpreet", "Jaspreet", "Amandeep", "Navjot", "Rajinder"),
        ("Gill", "Sidhu", "Dhillon", "Grewal", "Sandhu", "Bedi", "Arora", "Kapoor"),
        (
            Place("Model Town", "Ludhiana", "Punjab", "141002"),
            Place("Ranjit Avenue", "Amritsar", "Punjab", "143001"),
            Place("Sector 22", "Chandigarh", "Chandigarh", "160022"),
            Place("Karol Bagh", "New Delhi", "Delhi", "110005"),
            Place("Lajpat Nagar", "New Delhi", "Delhi", "110024"),
        ),
    ),
    Region(
        ("Neha", "Amit", "Sunita", "Rajesh", "Shalini", "Manoj", "Aarti", "Deepak", "Imran", "Farah"),
        ("Sharma", "Mishra", "Verma", "Tiwari", "Gupta", "Srivastava", "Yadav", "Khan", "Siddiqui"),
        (
            Place("Saket", "New Delhi", "Delhi", "110017"),
            Place("Dwarka", "New Delhi", "Delhi", "110075"),
            Place("Hazratganj", "Lucknow", "Uttar Pradesh", "226001"),
            Place("Gomti Nagar", "Lucknow", "Uttar Pradesh", "226010"),
            Place("Kankarbagh", "Patna", "Bihar", "800020"),
            Place("Arera Colony", "Bhopal", "Madhya Pradesh", "462016"),
            Place("Vijay Nagar", "Indore", "Madhya Pradesh", "452010"),
        ),
    ),
    Region(
        ("Ananya", "Subhash", "Moumita", "Anirban", "Sharmila", "Debashish", "Paromita", "Sourav", "Dipankar"),
        ("Banerjee", "Mukherjee", "Das", "Ghosh", "Sen", "Bose", "Mohanty", "Sahoo", "Saikia", "Gogoi"),
        (
            Place("Ballygunge", "Kolkata", "West Bengal", "700019"),
            Place("Behala", "Kolkata", "West Bengal", "700034"),
            Place("Salt Lake", "Kolkata", "West Bengal", "700064"),
            Place("Saheed Nagar", "Bhubaneswar", "Odisha", "751007"),
            Place("Patia", "Bhubaneswar", "Odisha", "751024"),
            Place("Dispur", "Guwahati", "Assam", "781006"),
        ),
    ),
)

BUILDINGS = (
    "Shanti Apartments",
    "Lake View Residency",
    "Green Park Society",
    "Lotus Enclave",
    "Gulmohar Heights",
    "Neem Court",
    "Sai Krupa",
    "Temple Street",
    "3rd Cross Road",
    "Station Road",
)

CATEGORIES = (
    DemoCategory("dairy", "Dairy"),
    DemoCategory("pantry", "Pantry"),
    DemoCategory("milk", "Milk", "dairy"),
    DemoCategory("curd-and-paneer", "Curd and paneer", "dairy"),
    DemoCategory("ghee-and-butter", "Ghee and butter", "dairy"),
    DemoCategory("jaggery-honey", "Jaggery and honey", "pantry"),
    DemoCategory("oils", "Cold-pressed oils", "pantry"),
    DemoCategory("grains-spices", "Grains and spices", "pantry"),
)


PRODUCTS = (
    DemoProduct("MILK-COW-1L", "Farm cow milk", "milk", "1 l", Decimal("68.00"), Decimal("60.00"), 5000, 32),
    DemoProduct(
        "MILK-COW-500", "Cow milk, small bottle", "milk", "500 ml", Decimal("36.00"), Decimal("31.50"), 3000, 20
    ),
    DemoProduct("MILK-A2-1L", "A2 Gir cow milk", "milk", "1 l", Decimal("110.00"), Decimal("98.00"), 900, 14),
    DemoProduct("MILK-BUF-1L", "Buffalo milk", "milk", "1 l", Decimal("82.00"), Decimal("73.00"), 1200, 10),
    # Discontinued, with subscribers left.
    DemoProduct("MILK-TON-500", "Toned milk", "milk", "500 ml", Decimal("29.00"), Decimal("25.00"), 40, 3, False),
    DemoProduct("CURD-400", "Set curd", "curd-and-paneer", "400 g", Decimal("48.50"), Decimal("42.00"), 700, 12),
    # Fewer left than are due in a day.
    DemoProduct("BUTTERMILK-200", "Buttermilk", "curd-and-paneer", "200 ml", Decimal("20.00"), Decimal("16.50"), 3, 8),
    # Sold out.
    DemoProduct("PANEER-200", "Fresh paneer", "curd-and-paneer", "200 g", Decimal("95.00"), Decimal("84.00"), 0, 6),
    DemoProduct("GHEE-COW-500", "Cow ghee", "ghee-and-butter", "500 ml", Decimal("420.00"), Decimal("380.00"), 260, 3),
    DemoProduct("GHEE-A2-500", "A2 bilona ghee", "ghee-and-butter", "500 ml", Decimal("890.00"), Decimal("815.00"), 90),
    DemoProduct("BUTTER-200", "White butter", "ghee-and-butter", "200 g", Decimal("140.00"), Decimal("124.00"), 150),
    DemoProduct("JAG-POW-500", "Jaggery powder", "jaggery-honey", "500 g", Decimal("95.00"), Decimal("82.00"), 400),
    DemoProduct("JAG-BLK-1K", "Jaggery blocks", "jaggery-honey", "1 kg", Decimal("165.00"), Decimal("145.00"), 350),
    DemoProduct("JAG-PALM-500", "Palm jaggery", "jaggery-honey", "500 g", Decimal("210.00"), Decimal("188.50"), 120),
    DemoProduct("HONEY-500", "Forest honey", "jaggery-honey", "500 g", Decimal("340.00"), Decimal("305.00"), 180),
    DemoProduct("OIL-GNUT-1L", "Groundnut oil", "oils", "1 l", Decimal("310.00"), Decimal("282.00"), 220),
    DemoProduct("OIL-COCO-500", "Coconut oil", "oils", "500 ml", Decimal("265.00"), Decimal("240.00"), 200),
    DemoProduct("OIL-SESA-1L", "Sesame oil", "oils", "1 l", Decimal("395.00"), Decimal("360.00"), 140),
    DemoProduct("RICE-RED-1K", "Red rice", "grains-spices", "1 kg", Decimal("128.00"), Decimal("114.00"), 300),
    DemoProduct("TURMERIC-200", "Turmeric powder", "grains-spices", "200 g", Decimal("88.00"), Decimal("76.00"), 250),
)

OWNER = 1
DISTRIBUTORS = dict(
    enumerate(
        [DistributorStatus.APPROVED] * 7 + [DistributorStatus.PENDING] * 3 + [DistributorStatus.REJECTED] * 2,
        start=OWNER + 1,
    )
)
CUSTOMERS = range(max(DISTRIBUTORS) + 1, max(DISTRIBUTORS) + 321)

STEP = {
    SubscriptionFrequency.DAILY: timedelta(days=1),
    SubscriptionFrequency.ALTERNATE_DAYS: timedelta(days=2),
    SubscriptionFrequency.WEEKLY: timedelta(days=7),
}
# (status, days until the next delivery): each comes with each frequency.
SITUATIONS = (
    (SubscriptionStatus.ACTIVE, 0),
    (SubscriptionStatus.ACTIVE, 1),
    (SubscriptionStatus.ACTIVE, 0),
    (SubscriptionStatus.ACTIVE, -3),
    (SubscriptionStatus.ACTIVE, 0),
    (SubscriptionStatus.ACTIVE, 2),
    (SubscriptionStatus.PAUSED, -5),
    (SubscriptionStatus.CANCELLED, -20),
)
# How orders end: (order, payment), as often as each is listed.
DELIVERED = (OrderStatus.DELIVERED, PaymentStatus.PAID)
FAILED = (OrderStatus.CANCELLED, PaymentStatus.FAILED)
DELIVERIES = (*[DELIVERED] * 12, FAILED)
OLD_ORDERS = (*[DELIVERED] * 10, FAILED, (OrderStatus.REFUNDED, PaymentStatus.REFUNDED))
RECENT_ORDERS = (
    (OrderStatus.PENDING, PaymentStatus.PENDING),
    (OrderStatus.CONFIRMED, PaymentStatus.PAID),
    (OrderStatus.PACKED, PaymentStatus.PAID),
    (OrderStatus.OUT_FOR_DELIVERY, PaymentStatus.PAID),
)
# (how many, last touched at most and at least so many days ago, products in it)
CARTS = ((40, 27, 1, 3), (40, 90, 31, 2), (6, 27, 1, 0), (6, 90, 31, 0))
# (how many, at most and at least so many days old)
AUDIT_LOGS = ((150, 85, 1), (150, 400, 95))
# Keys of the backend: the expiry it sets, and how many there are.
KEYS = {
    "otp": (timedelta(minutes=10), 24),
    "password_reset": (timedelta(days=1), 20),
    "email_verification": (timedelta(days=1), 20),
    "session": (timedelta(days=7), 60),
}
AUDITED = (
    ("product.updated", Product, {"field": "stock_quantity", "from": 12, "to": 240}),
    ("order.status_changed", Order, {"from": "packed", "to": "out_for_delivery"}),
    ("subscription.paused", Subscription, {"reason": "customer is away"}),
)
